"""
Mutation run: changes the code in one place at a time, and checks that the unit tests notice it.

Each mutant runs in a fork of this process, which has imported the libraries but no module of this project. The fork has
its own network namespace, so that changed code cannot configure the interfaces of this host. It runs only the tests
that execute the changed line, the fastest first, until one fails. The mutations are those of cosmic-ray. Mutants of
annotations, docstrings and log lines are left out, since they change no behaviour.

``survivors.txt`` lists the mutants that are known to survive, with the reasons. The exit status is 1 if less than 95 %
of the mutants are noticed, if a mutant survives that is not listed, or if a listed mutant has no reason or does not
exist any more because its line has changed.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import errno
import fcntl
import importlib
import importlib.util
import io
import json
import math
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import unittest
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import islice
from pathlib import Path
from random import Random
from types import CodeType, ModuleType
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from coverage import Coverage
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("survivors.txt")

#: Code that is mutated.
TARGETS = (
    "ssdpreg/discovery",
    "ssdpreg/registration",
    "ssdpreg/ssdp",
    "ssdpreg/backends/changes.py",
    "ssdpreg/backends/consul.py",
    "ssdpreg/backends/consul_agent.py",
    "ssdpreg/backends/consul_checks.py",
    "ssdpreg/backends/consul_connection.py",
    "ssdpreg/backends/consul_format.py",
    "ssdpreg/backends/consul_http.py",
    "ssdpreg/backends/consul_lookup.py",
    "ssdpreg/backends/consul_own_service.py",
    "ssdpreg/backends/consul_statistics.py",
    "ssdpreg/backends/consul_token.py",
    "ssdpreg/backends/http_client.py",
    "ssdpreg/backends/http_connection.py",
    "ssdpreg/backends/instance.py",
    "ssdpreg/backends/json_object.py",
    "ssdpreg/backends/listing_limit.py",
    "ssdpreg/reconciler/application.py",
)
#: Folders and modules of the tests that run.
TESTS = (
    "tests/unit/discovery",
    "tests/unit/registration",
    "tests/unit/ssdp",
    "tests/unit/registry",
    "tests/unit/backends",
    "tests/unit/test_datagrams.py",
    "tests/unit/reconciler",
    "tests/unit/test_reconciler.py",
)
#: Libraries that are imported before the forks.
_PRELOADED = (
    "attr",
    "hypothesis",
    "hypothesis.stateful",
    "prometheus_client",
    "treq",
    "treq.testing",
    "twisted.application.service",
    "twisted.internet.task",
    "twisted.internet.testing",
    "twisted.trial.unittest",
    "twisted.web.client",
    "twisted.web.server",
    "zope.interface.verify",
)
#: A mutant counts as noticed if it makes the tests use this many times the CPU time that they need without it, plus
#: some seconds, or if they wait for something that does not happen.
_CPU_FACTOR = 4.0
_CPU_SLACK = 2
_TIMEOUT = 60.0
# Linux: <linux/sched.h>, <linux/sockios.h>, <linux/if.h>. Python 3.10 does not define them.
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
#: Part of the mutants that has to be noticed.
_REQUIRED = 0.95

#: Replacements of comparisons and of binary operators. cosmic-ray has all combinations, most of which are noticed by
#: any test.
_COMPARISONS = {
    "Eq": ("NotEq",),
    "NotEq": ("Eq",),
    "Lt": ("LtE", "GtE"),
    "LtE": ("Lt", "Gt"),
    "Gt": ("GtE", "LtE"),
    "GtE": ("Gt", "Lt"),
    "Is": ("IsNot",),
    "IsNot": ("Is",),
}
_BINARY = {
    "Add": ("Sub",),
    "Sub": ("Add",),
    "Mul": ("Div",),
    "Div": ("Mul",),
    "FloorDiv": ("Mul",),
    "Mod": ("Mul",),
    "Pow": ("Mul",),
    "BitOr": ("BitAnd",),
    "BitAnd": ("BitOr",),
    "RShift": ("LShift",),
    "LShift": ("RShift",),
}
_SIMPLE = (
    "AddNot",
    "NumberReplacer",
    "RemoveDecorator",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_USub_UAdd",
    "ZeroIterationForLoop",
)


@dataclass(frozen=True)
class Mutant:
    """
    One change of the code.

    :ivar module: Dotted name of the changed module.
    :ivar line: Number of the changed line.
    :ivar before: The line without the change.
    :ivar after: The line with the change.
    :ivar source: Whole changed text of the module.
    """

    module: str
    path: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before} => {self.after}"


# Mutants.


def operators() -> Iterator[str]:
    """Yield the names of the operators of cosmic-ray that are used."""
    available = set(operator_names())
    wanted = [f"core/{name}" for name in _SIMPLE]
    for kind, table in (("Comparison", _COMPARISONS), ("Binary", _BINARY)):
        wanted += [
            f"core/Replace{kind}Operator_{before}_{after}" for before, afters in table.items() for after in afters
        ]
    yield from (name for name in wanted if name in available)


Change = tuple[Path, str, int]


def changes(path: Path) -> Iterator[Change]:
    """Yield the path of a module, the name of an operator and the number of its occurrence for each possible change."""
    nodes = list(ast_nodes(get_ast(path.read_text())))
    for name in operators():
        operator = get_operator(name)()
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            yield path, name, occurrence


def mutants(found: Iterable[Change]) -> Iterator[Mutant]:
    """Yield the mutants of changes, without duplicates and without those that change no behaviour."""
    seen = set[str]()
    for path, name, occurrence in found:
        text = path.read_text()
        mutated = mutate_code(text, get_operator(name)(), occurrence)
        if mutated is None or mutated in seen:
            continue
        seen.add(mutated)
        try:
            if _behaviour(mutated) == _behaviour(text):
                continue
        except SyntaxError:
            continue
        relative = path.relative_to(ROOT)
        yield _mutant(".".join(relative.with_suffix("").parts).removesuffix(".__init__"), relative, text, mutated)


def _mutant(module: str, path: Path, text: str, mutated: str) -> Mutant:
    before, after = text.split("\n"), mutated.split("\n")
    line = next((number for number, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), 0)
    # A removed decorator takes the blank lines above it along.
    old, new = (
        next(number for number, each in enumerate(lines) if number >= line and each.strip())
        for lines in (before, after)
    )
    return Mutant(module, str(path), old + 1, before[old].strip(), after[new].strip(), mutated)


@lru_cache(4)
def _behaviour(text: str) -> str:
    """Return the syntax tree of a module without annotations, docstrings and log lines."""
    return ast.dump(_WithoutAnnotations().visit(ast.parse(text)))


class _WithoutAnnotations(ast.NodeTransformer):
    """Removes what changes no behaviour."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        # Whether an argument may be given by position or by name changes no behaviour of a correct program.
        node.args, node.posonlyargs = [*node.posonlyargs, *node.args], []
        node.args, node.kwonlyargs = [*node.args, *node.kwonlyargs], []
        defaults = [default for default in node.kw_defaults if default is not None]
        node.defaults, node.kw_defaults = [*node.defaults, *defaults], []
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        # Overloads exist for the type checker.
        if ast.unparse(node.body[0]) == "...":
            return ast.Pass()
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # Parts of a Protocol exist for the type checker.
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            return ast.Pass()
        return self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        # Options of dataclasses that prevent mistakes, and save memory.
        if node.arg in ("frozen", "slots"):
            node.value = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return ast.Pass()
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if "TYPE_CHECKING" in ast.dump(node.test):
            return ast.Pass()
        return self.generic_visit(node)


# Runs in a fork.


class _MutantLoader(SourceFileLoader):
    """Loader of one module with another text."""

    text = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec", dont_inherit=True)


class _MutantFinder:
    """Finder that lets one module be loaded with another text."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        file = str(ROOT / self._mutant.path)
        loader = _MutantLoader(fullname, file)
        loader.text = self._mutant.source
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def load_tests(name: str) -> Iterator[unittest.TestCase]:
    """Import a test module, and yield its tests. The name may also be that of a single test."""
    waiting: list[Any] = [unittest.defaultTestLoader.loadTestsFromName(name)]
    while waiting:
        test = waiting.pop(0)
        if isinstance(test, unittest.TestCase):
            yield test
        else:
            waiting.extend(test)


def passes(test: unittest.TestCase) -> bool:
    """Run a test. Return whether it passes."""
    result = unittest.TestResult()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        test.run(result)
    return result.wasSuccessful()


def isolate() -> None:
    """
    Enter a user namespace and a network namespace of this process alone, with loopback.

    Changed code may call the kernel with another number: one more than SIOCGIFFLAGS is SIOCSIFFLAGS, which disables the
    interfaces of the host if the process is privileged.

    :raise OSError: If the process is privileged and remains in the network namespace of the host.
    """
    outside, user, group = os.readlink("/proc/self/ns/net"), os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        if user:
            # The host may not permit it. Without privileges, code cannot configure interfaces.
            return
        raise OSError(ctypes.get_errno(), "cannot enter a namespace")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(text)
    if os.readlink("/proc/self/ns/net") == outside:
        raise OSError(errno.EPERM, "still in the network namespace of the host")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def in_fork(function: Callable[[], object], timeout: float) -> object | None:
    """
    Return the result of a function that runs in a fork, or None if it failed or took too long.

    :param function: Returns a value that JSON can represent.
    :param timeout: Seconds until it is ended.
    """
    reader, writer = os.pipe()
    directory = tempfile.mkdtemp(prefix="mutation-")
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            os.setsid()
            os.chdir(directory)
            isolate()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.write(writer, json.dumps(function()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    answer = b""
    deadline = time.monotonic() + timeout
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            chunk = pipe.read(65536)
            if not chunk:
                break
            answer += chunk
        else:
            os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    shutil.rmtree(directory, ignore_errors=True)
    return json.loads(answer) if answer else None


def survives(mutant: Mutant, tests: Sequence[Test]) -> bool:
    """Return whether tests do not notice a mutant."""

    def run() -> bool:
        sys.meta_path.insert(0, _MutantFinder(mutant))
        for each in tests:
            limit = math.ceil(time.process_time() + _CPU_SLACK + _CPU_FACTOR * each.seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            if not all(map(passes, load_tests(each.name))):
                return False
        return True

    return in_fork(run, _TIMEOUT + 10 * sum(each.seconds for each in tests)) is True


# Executed lines.


@dataclass(frozen=True)
class Test:
    """
    A test.

    :ivar name: Dotted name.
    :ivar seconds: CPU time.
    :ivar lines: Numbers of the executed lines by path, including those that the import of its module executes.
    """

    name: str
    seconds: float
    lines: dict[str, frozenset[int]]


def measure(module: str) -> Iterator[Test]:
    """Run each test of a module without a mutant."""

    def run() -> list[tuple[str, float, dict[str, list[int]]]]:
        coverage = Coverage(data_file=None, source=[str(ROOT / "ssdpreg")], config_file=False)
        coverage.start()
        tests = list(load_tests(module))
        seconds: dict[str, float] = {}
        for test in tests:
            coverage.switch_context(test.id())
            began = time.process_time()
            if not passes(test):
                raise RuntimeError(test.id())
            seconds[test.id()] = time.process_time() - began
        coverage.stop()
        data = coverage.get_data()
        measured = []
        for name, duration in seconds.items():
            # The context of the import has an empty name.
            data.set_query_contexts([f"^{re.escape(name)}$", "^$"])
            lines = {file: data.lines(file) for file in data.measured_files()}
            measured.append(
                (name, duration, {str(Path(file).relative_to(ROOT)): each for file, each in lines.items() if each})
            )
        return measured

    answer = in_fork(run, 300)
    if not isinstance(answer, list):
        raise SystemExit(f"{module} fails without a mutant")
    for name, seconds, lines in answer:
        yield Test(name, seconds, {path: frozenset(each) for path, each in lines.items()})


def files(paths: Iterable[str], beginning: str = "") -> Iterator[Path]:
    """Yield the Python files in folders and single files."""
    for name in paths:
        path = ROOT / name
        yield from sorted(path.glob(f"{beginning}*.py")) if path.is_dir() else [path]


def tests_for(mutant: Mutant, tests: Sequence[Test]) -> list[Test]:
    """Return the tests that execute the changed line, the fastest first."""
    # A statement of several lines may be recorded at its first line only.
    for line in range(mutant.line, max(mutant.line - 12, 0), -1):
        executing = [each for each in tests if line in each.lines.get(mutant.path, ())]
        if executing:
            return sorted(executing, key=lambda each: each.seconds)
    return []


def known_survivors() -> set[str]:
    """Return the mutants that are known to survive."""
    if not SURVIVORS.exists():
        return set()
    return {line for line in SURVIVORS.read_text().splitlines() if line and not line.startswith(("#", " "))}


def without_reason() -> list[str]:
    """Return the listed mutants that no reason follows."""
    lines = SURVIVORS.read_text().splitlines() if SURVIVORS.exists() else []
    known = known_survivors()
    return [line for line, after in zip(lines, [*lines[1:], ""], strict=True) if line in known and after[:1] != " "]


def outdated(known: Iterable[str], found: Collection[Mutant]) -> list[str]:
    """
    Return the listed mutants that do not exist: their lines have changed.

    :param found: All mutants of some modules, or an empty collection: then only the lines are compared.
    """
    lines: dict[str, set[str]] = {}
    possible, paths = {str(mutant) for mutant in found}, {mutant.path for mutant in found}
    missing = []
    for mutant in sorted(known):
        path, _, change = mutant.partition(": ")
        if path not in lines:
            module = ROOT / path
            lines[path] = {line.strip() for line in module.read_text().splitlines()} if module.exists() else set()
        if change.partition(" => ")[0] not in lines[path] or (path in paths and mutant not in possible):
            missing.append(mutant)
    return missing


def survivors_in(output: str) -> set[str]:
    """Return the mutants that the output of a run lists as survivors."""
    return {match[1] for match in re.finditer(r"^(?:SURVIVED|listed) line \d+: (.*)$", output, re.MULTILINE)}


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Check that the unit tests notice changes of the code.")
    parser.add_argument("paths", nargs="*", default=TARGETS, help="code to mutate (default: %(default)s)")
    parser.add_argument("--sample", type=int, help="number of mutants to try (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample (default: %(default)s)")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="tests that run (default: %(default)s)")
    parser.add_argument("--again", type=Path, help="output of an earlier run: try only the survivors that it lists")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in _PRELOADED:
        importlib.import_module(name)
    # A failure is enough: no time is spent on a smaller example of it.
    settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], database=None)
    settings.load_profile("mutation")
    again = None if options.again is None else survivors_in(options.again.read_text())
    possible = [change for path in files(options.paths) for change in changes(path)]
    Random(options.seed).shuffle(possible)
    chosen = (mutant for mutant in mutants(possible) if again is None or str(mutant) in again)
    found = sorted(islice(chosen, options.sample), key=lambda each: (each.path, each.line))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files(options.tests, "test_")]
    tests = [test for module in modules for test in measure(module)]
    known = known_survivors()
    faults = [f"no reason for {mutant}" for mutant in without_reason()]
    is_whole = options.sample is None and again is None
    faults += [f"outdated: {mutant}" for mutant in outdated(known, found if is_whole else ())]
    total, survived, unexpected = Counter[str](), Counter[str](), 0
    for number, mutant in enumerate(found):
        if number % 50 == 0:
            print(f"{number} of {len(found)} mutants", file=sys.stderr, flush=True)
        executing = tests_for(mutant, tests)
        total[mutant.path] += 1
        if not executing or survives(mutant, executing):
            survived[mutant.path] += 1
            listed = str(mutant) in known
            unexpected += not listed
            print(f"{'listed' if listed else 'SURVIVED'} line {mutant.line}: {mutant}", flush=True)
    for path, count in sorted(total.items()):
        print(f"{path}: {count - survived[path]} of {count} noticed")
    for folder in sorted({str(Path(path).parent) for path in total}):
        count, missed = (
            sum(each[path] for path in each if Path(path).parent == Path(folder)) for each in (total, survived)
        )
        print(f"{folder}: {count - missed} of {count} noticed, {100 * (1 - missed / count):.1f} %")
    noticed = 1 - survived.total() / max(total.total(), 1)
    print(f"{total.total()} mutants of {len(possible)} possible changes, {100 * noticed:.1f} % noticed")
    print(f"{unexpected} survivors are not listed in {SURVIVORS.relative_to(ROOT)}")
    print(*faults, f"{len(faults)} faults in {SURVIVORS.relative_to(ROOT)}", sep="\n")
    return int(noticed < _REQUIRED or unexpected > 0 or bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
