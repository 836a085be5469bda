"""Rules of this host's firewall that may drop datagrams: the output of nft and iptables. Read with root only."""

from __future__ import annotations

import re
import subprocess

#: Seconds that a program may take. A firewall of Kubernetes has tens of thousands of rules.
_TIMEOUT = 5.0


def read_rules() -> list[str]:
    """Return descriptions of the rules and policies that drop incoming datagrams; none without root or programs."""
    rules = find_nft_rules(_output("nft", "list", "ruleset"))
    return rules or find_iptables_rules(_output("iptables-save"))


def find_nft_rules(text: str) -> list[str]:
    """
    Return the rules of chains for incoming packets that drop or reject.

    :param text: Output of ``nft list ruleset``.
    """
    found = []
    table = chain = ""
    incoming = False
    for line in map(str.strip, text.splitlines()):
        if match := re.match(r"table (\S+ \S+) \{", line):
            table = match[1]
        elif match := re.match(r"chain (\S+) \{", line):
            chain, incoming = match[1], False
        elif re.match(r"type \S+ hook (input|prerouting|ingress)\b", line):
            incoming = True
            if "policy drop" in line:
                found.append(f"nft: policy drop of chain {chain} in table {table}")
        elif incoming and re.search(r"\b(drop|reject)\b", line):
            found.append(f"nft: {line} in chain {chain} of table {table}")
    # A rule that drops invalid packets only is no cause.
    return sorted((each for each in found if "ct state invalid" not in each), key=_relevance)


def find_iptables_rules(text: str) -> list[str]:
    """
    Return the rules of the chain INPUT that drop or reject.

    :param text: Output of ``iptables-save``.
    """
    found = [f"iptables: {line}" for line in text.splitlines() if re.match(r"-A INPUT .*-j (DROP|REJECT)\b", line)]
    found += [f"iptables: {line}" for line in text.splitlines() if line.startswith(":INPUT DROP")]
    return sorted(found, key=_relevance)


def _relevance(rule: str) -> int:
    """Return 0 for a rule that names UDP, otherwise 1, as the key of a sort."""
    return 0 if re.search(r"\b(udp|1900)\b", rule) else 1


def _output(*command: str) -> str:
    """Return the output of a program; empty if it is missing or fails."""
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
