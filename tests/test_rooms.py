"""The floor plan of CONTRIBUTING.md holds: imports lead to the same or a lower floor, without cycles."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = {
    "keras_leoclr": "keras_leoclr",
    "keras_leoclr.callbacks": "callbacks",
    "keras_leoclr.recipes": "recipes",
}

pytestmark = pytest.mark.backend_free


def floors():
    """Floor by module or package, from the table of CONTRIBUTING.md; higher numbers import lower ones."""
    found = {}
    for floor, modules in re.findall(r"^\| (\d+) \| (.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M):
        for name in re.findall(r"`([\w./]+)`", modules):
            dotted = name.removesuffix(".py").rstrip("/").replace("/", ".")
            found[f"keras_leoclr.{dotted}"] = int(floor)
    return found


def modules():
    """Path by dotted name, of every module of the package."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if parts[:1] not in (("callbacks",), ("recipes",)) or package != "keras_leoclr":
                found[".".join((package, *parts))] = path
    return found


def floor_of(module, table):
    """Of the longest entry that holds the module; None for the package's own face."""
    names = [name for name in table if module == name or module.startswith(f"{name}.")]
    return table[max(names, key=len)] if names else None


def is_for_types_alone(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path, known):
    """Modules of the package that a module imports, wherever the import stands, with its line."""
    waiting, found = [ast.parse(path.read_text(encoding="utf-8"))], []
    while waiting:
        node = waiting.pop()
        if is_for_types_alone(node):
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.append((whole if whole in known else node.module, node.lineno))
        waiting += ast.iter_child_nodes(node)
    return [(name, line) for name, line in found if name in known and name != "keras_leoclr"]


def test_every_module_stands_on_a_floor():
    table = floors()
    assert len(table) > 20
    homeless = [name for name in modules() if name != "keras_leoclr" and floor_of(name, table) is None]
    assert not homeless, f"CONTRIBUTING.md's floor plan lacks {homeless}"
    known = modules()
    gone = [name for name in table if name not in known]
    assert not gone, f"CONTRIBUTING.md's floor plan names {gone}"


def test_imports_lead_down():
    table, known = floors(), modules()
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target} of floor {floor_of(target, table)}"
        for module, path in known.items()
        for target, line in imports(path, known)
        if module != "keras_leoclr" and floor_of(target, table) > floor_of(module, table)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others():
    known = modules()
    graph = {module: {target for target, _ in imports(path, known)} for module, path in known.items()}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for target in sorted(graph[module]):
                visit(target)
            path.pop()
            done.add(module)

    for module in sorted(graph):
        visit(module)


def test_a_package_exports_no_name_of_one_of_its_modules():
    """Once such a module is imported, it would be found under the name instead of what is exported."""
    known = modules()
    for package in known:
        if known[package].name != "__init__.py":
            continue
        tree = ast.parse(known[package].read_text(encoding="utf-8"))
        places = {
            key.value: value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Dict)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
        }
        shadowed = [n for n, place in places.items() if f"{package}.{n}" in known and place != n]
        assert not shadowed, (package, shadowed)
