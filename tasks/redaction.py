"""Secrets are refused in a URI, because URIs are logged, stored in MLflow and shown on pages.

Credentials belong in the environment, where libpq, S3 and the like read them without our help.
"""

import re

# user:password@host, whatever characters the password has; a port is no password.
USER_PATTERN = r"[A-Za-z][A-Za-z0-9+.\-]*:\/\/[^\/?#@]*:(?!\d+(?:\/|$))[^?#]*@"

# https://user@host without a password: the user is a token.
_BARE_USER = r"[Hh][Tt][Tt][Pp][Ss]?:\/\/[^\/?#@]+@"

_PARAMETERS = (
    "password|passwd|pwd|secret|token|sig|signature|api_?key|access_?key|account_?key|secret_?key"
    "|access_?token|[xX]-[aA]mz-[sS]ignature|[xX]-[aA]mz-[cC]redential|[xX]-[gG]oog-[sS]ignature"
    "|sslpassword"
)

OPTION_PATTERN = rf"[?&;](?:{_PARAMETERS})\s*=|(?:^|\s)password\s*="

NO_SECRET_PATTERN = rf"^(?!{USER_PATTERN})(?!{_BARE_USER})(?!.*[?&;](?:{_PARAMETERS})\s*=)"
"""A URI without a secret, for the schema of the job file and of the form. Python and browsers must
read it alike, so slash and minus are escaped."""

HINT = (
    "take it out, and put it into the environment, where the driver finds it: PGPASSWORD or "
    "~/.pgpass, AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_SAS_TOKEN, or FSSPEC_HTTPS with its headers"
)


def holds_secret(uri: str) -> bool:
    """Return whether a URI contains a password, a token or a signature."""
    return bool(
        re.match(USER_PATTERN, uri)
        or re.match(_BARE_USER, uri)
        or re.search(OPTION_PATTERN, uri, re.IGNORECASE)
    )


def check_no_secret(uri: str) -> None:
    """Refuse a URI with a secret, without repeating it.

    Raises:
        ValueError: it holds one.
    """
    if holds_secret(uri):
        raise ValueError(f"uri: it holds a password or a token, which every run would show; {HINT}")


def redact(text: str) -> str:
    """Remove user and password from the URIs in a text."""
    return re.sub(r"(?<=://)[^/?#@\s]*@", "", text)
