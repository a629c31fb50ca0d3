"""Secrets have no place in a URI, for it is logged, kept in MLflow and shown on pages.

What is given by the environment never comes here: libpq, S3 and the like read it themselves.
"""

import re

# user:password@host, whatever signs the password has; a port is none.
USER = r"[A-Za-z][A-Za-z0-9+.\-]*:\/\/[^\/?#@]*:(?!\d+(?:\/|$))[^?#]*@"

# Of a web page nobody is asked for a user alone: that is a token.
LONE = r"[Hh][Tt][Tt][Pp][Ss]?:\/\/[^\/?#@]+@"

WORDS = (
    "password|passwd|pwd|secret|token|sig|signature|api_?key|access_?key|account_?key|secret_?key"
    "|access_?token|[xX]-[aA]mz-[sS]ignature|[xX]-[aA]mz-[cC]redential|[xX]-[gG]oog-[sS]ignature"
    "|sslpassword"
)

OPTION = rf"[?&;](?:{WORDS})\s*=|(?:^|\s)password\s*="

NO_SECRET = rf"^(?!{USER})(?!{LONE})(?!.*[?&;](?:{WORDS})\s*=)"
"""What a URI keeps to, for the schema of the job file and of the form: in words that Python and
browsers read alike, so slash and minus have their backslash."""

MEND = (
    "take it out, and put it into the environment, where the driver finds it: PGPASSWORD or "
    "~/.pgpass, AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_SAS_TOKEN, or FSSPEC_HTTPS with its headers"
)


def holds_secret(uri: str) -> bool:
    """Tell whether a URI names a password, a token or a signature."""
    return bool(re.match(USER, uri) or re.match(LONE, uri) or re.search(OPTION, uri, re.IGNORECASE))


def refuse_secret(uri: str) -> None:
    """Refuse a URI with a secret, without repeating it.

    Raises:
        ValueError: it holds one.
    """
    if holds_secret(uri):
        raise ValueError(f"uri: it holds a password or a token, which every run would show; {MEND}")


def discreet(text: str) -> str:
    """Leave user and password out of the addresses in a text."""
    return re.sub(r"(?<=://)[^/?#@\s]*@", "", text)
