"""Rules of this host's firewall that may drop datagrams: the output of nft and iptables. Read with root only."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ssdpreg.ssdp.messages import GROUP, GROUPS, RECEIVED_GROUPS

#: Seconds that a program may take. A firewall of Kubernetes has tens of thousands of rules.
_TIMEOUT = 5.0
#: Programs that list the rules of iptables, and families of nft's tables that have no packets of an IP version.
_SAVE = {4: ("iptables-save", "iptables-legacy-save"), 6: ("ip6tables-save", "ip6tables-legacy-save")}
_OTHER_FAMILIES = {4: ("ip6", "arp"), 6: ("ip", "arp")}
#: Expression of nft that matches datagrams to the SSDP groups, by IP version.
_TO_GROUP = {4: f"ip daddr {GROUP}", 6: f"ip6 daddr {{ {', '.join(RECEIVED_GROUPS[6])} }}"}

#: Conditions of nft and iptables that only multicast datagrams fulfil.
_MULTICAST = re.compile(r"(?:pkttype|--pkt-type) multicast|(?:daddr|-d) (?:\{ )?(?:2(?:2[4-9]|3\d)\.|ff[0-9a-f]{2}:)")


@dataclass(frozen=True, slots=True)
class DroppingRule:
    """
    A rule or policy that drops incoming packets.

    :ivar tool: Program that shows it: ``nft`` or ``iptables``.
    :ivar text: Description of the rule.
    :ivar table: Family and name of its table in nft, such as ``inet filter``; empty in iptables.
    :ivar chain: Chain in which a rule that accepts packets has to be inserted: the one that begins the path.
    """

    tool: str
    text: str
    table: str = ""
    chain: str = ""

    @property
    def is_policy(self) -> bool:
        """Whether it is the policy of a chain of nft."""
        return self.text.startswith("policy drop ")

    @property
    def is_for_multicast(self) -> bool:
        """Whether it drops multicast datagrams only, and so no replies to searches."""
        return _MULTICAST.search(self.text) is not None

    def __str__(self) -> str:
        return f"{self.tool}: {self.text}"


@dataclass
class _Chain:
    """
    A chain of nft or iptables while it is read.

    :ivar incoming: Whether incoming packets begin there.
    :ivar drops: Descriptions of its rules that drop or reject.
    :ivar jumps: Names of the chains to which its rules jump.
    """

    incoming: bool = False
    drops: list[str] = field(default_factory=list)
    jumps: list[str] = field(default_factory=list)


def accept_announcements(rules: Iterable[DroppingRule], version: int) -> str:
    """
    Return the commands that accept announcements, for the firewall that drops them.

    :param rules: Rules that may drop them, the most probable first; without one, a usual firewall is assumed.
    :param version: IP version, 4 or 6.
    """
    found = list(rules) or [DroppingRule("nft", "", "inet filter", "input")]
    # In nft a packet passes if each of the chains accepts it, and any of them may drop it.
    probable = [rule for rule in found[1:] if rule.tool == "nft" and (not _relevance(rule) or rule.is_policy)]
    commands = dict.fromkeys(_accept_announcements(rule, version) for rule in (found[0], *probable))
    return "; ".join(commands)


def _accept_announcements(rule: DroppingRule, version: int) -> str:
    """Return the command that accepts announcements before a rule."""
    if "firewalld" in rule.table:
        return "firewall-cmd --permanent --add-port=1900/udp, and: firewall-cmd --reload"
    if "ufw" in rule.text:
        return f"ufw allow proto udp to {GROUPS[version][0]} port 1900"
    if rule.tool == "nft":
        return f"nft insert rule {rule.table} {rule.chain} {_TO_GROUP[version]} udp dport 1900 accept"
    program = "iptables" if version == 4 else "ip6tables"
    return f"{program} -I {rule.chain} -d {','.join(RECEIVED_GROUPS[version])} -p udp --dport 1900 -j ACCEPT"


def read_rules(version: int = 4) -> list[DroppingRule]:
    """
    Return the rules and policies that drop incoming packets; none without root or programs.

    :param version: IP version, 4 or 6.
    """
    rules = find_nft_rules(_output("nft", "list", "ruleset"), version)
    for program in _SAVE[version]:
        rules = rules or find_iptables_rules(_output(program))
    return rules


def find_nft_rules(text: str, version: int = 4) -> list[DroppingRule]:
    """
    Return the rules that drop or reject incoming packets, in chains for them and in chains to which those jump.

    :param text: Output of ``nft list ruleset``.
    :param version: IP version, 4 or 6.
    """
    found: list[DroppingRule] = []
    for table, lines in _split_tables(text):
        if table.split()[0] in _OTHER_FAMILIES[version]:
            continue
        chains: dict[str, _Chain] = {}
        name = ""
        for line in lines:
            if match := re.match(r"chain (\S+) \{", line):
                name = match[1]
                chains[name] = _Chain()
            elif name:
                _read_nft_line(line, name, table, chains[name])
        found += [DroppingRule("nft", drop, table, base) for base, drop in _reachable(chains)]
    # A rule that drops invalid packets only is no cause.
    return sorted((each for each in found if "ct state invalid" not in each.text), key=_relevance)


def _split_tables(text: str) -> list[tuple[str, list[str]]]:
    """Return the family and name of each table, and its lines without indentation."""
    tables: list[tuple[str, list[str]]] = []
    for line in map(str.strip, text.splitlines()):
        if match := re.match(r"table (\S+ \S+) \{", line):
            tables.append((match[1], []))
        elif tables:
            tables[-1][1].append(line)
    return tables


def _read_nft_line(line: str, name: str, table: str, chain: _Chain) -> None:
    if re.match(r"type \S+ hook (input|prerouting|ingress)\b", line):
        chain.incoming = True
        if "policy drop" in line:
            chain.drops.append(f"policy drop of chain {name} in table {table}")
    elif match := re.search(r"\b(?:jump|goto) (\S+)", line):
        chain.jumps.append(match[1])
    elif re.search(r"\b(drop|reject)\b", line):
        chain.drops.append(f"{line} in chain {name} of table {table}")


def find_iptables_rules(text: str) -> list[DroppingRule]:
    """
    Return the rules that drop or reject, in the chain INPUT and in chains to which it jumps.

    :param text: Output of ``iptables-save``.
    """
    chains: dict[str, _Chain] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        if table and table != "filter":
            continue
        if match := re.match(r":(\S+) (\S+)", line):
            chain = chains.setdefault(match[1], _Chain(match[1] == "INPUT"))
            chain.drops += [line] if match[2] == "DROP" else []
        elif match := re.match(r"-A (\S+) .*?-[jg] (\S+)", line):
            chain = chains.setdefault(match[1], _Chain(match[1] == "INPUT"))
            if match[2] in ("DROP", "REJECT"):
                chain.drops.append(line)
            else:
                chain.jumps.append(match[2])
    return sorted((DroppingRule("iptables", drop, "", base) for base, drop in _reachable(chains)), key=_relevance)


def _reachable(chains: dict[str, _Chain]) -> Iterator[tuple[str, str]]:
    """Yield each rule that an incoming packet can reach, after the name of the chain in which its path begins."""
    seen: set[str] = set()
    for base in [name for name, chain in chains.items() if chain.incoming]:
        waiting = [base]
        while waiting:
            name = waiting.pop()
            if name in chains and name not in seen:
                seen.add(name)
                waiting += chains[name].jumps
                yield from ((base, drop) for drop in chains[name].drops)


def _relevance(rule: DroppingRule) -> int:
    """Return 0 for a rule that names UDP, otherwise 1, as the key of a sort."""
    return 0 if re.search(r"\b(udp|1900)\b", rule.text) else 1


def _output(*command: str) -> str:
    """Return the output of a program; empty if it is missing or fails."""
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
