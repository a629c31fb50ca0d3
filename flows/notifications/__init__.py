"""Notifications of outcomes: events, automations, notification blocks."""
