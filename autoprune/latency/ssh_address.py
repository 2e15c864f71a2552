"""SshAddress: ssh://user@host:port, read strictly, because its parts become ssh's arguments."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from autoprune.errors import ConfigError

SCHEME = "ssh://"
_EXPECTED = "ssh://user@host or ssh://user@host:port"
# The first character keeps a part from reading as an option; no part can reach a shell's syntax.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}"
_ADDRESS = re.compile(
    rf"ssh://(?:(?P<user>{_NAME})@)?"
    rf"(?:(?P<host>{_NAME})|\[(?P<ipv6>[0-9A-Fa-f:.]{{2,45}})\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True)
class SshAddress:
    """Whom to reach.

    Attributes:
        host: A name (a `Host` of ~/.ssh/config too) or an address.
        user: None leaves it to ssh's configuration.
        port: None leaves it to ssh's configuration.
    """

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> SshAddress:
        """Read `ssh://user@host:port`; user and port may be left out.

        Raises:
            ConfigError: Anything else: a password, a path, a part that begins with "-".
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise ConfigError.of("--target", "", text, _EXPECTED)
        host, port = found["host"] or found["ipv6"], found["port"]
        if found["ipv6"]:
            _check_ipv6(text, host)
        if port is not None and not 1 <= int(port) <= 65535:
            raise ConfigError.of("--target", "", text, "a port from 1 to 65535")
        return cls(host, found["user"], int(port) if port else None)

    def __str__(self) -> str:
        """As the user would write it."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}{user}{host}" + (f":{self.port}" if self.port else "")

    def arguments(self) -> list[str]:
        """As ssh wants it; what follows is the command."""
        port = ["-p", str(self.port)] if self.port else []
        user = ["-l", self.user] if self.user else []
        return [*port, *user, "--", self.host]

    def by_hand(self) -> str:
        """The command that logs in, for messages."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{f'{self.user}@' if self.user else ''}{self.host}"

    def known_as(self) -> str:
        """The name ssh keeps the host's key under."""
        return f"[{self.host}]:{self.port}" if self.port not in (None, 22) else self.host


def _check_ipv6(text: str, host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ConfigError.of("--target", "", text, "an IPv6 address in the brackets") from None
