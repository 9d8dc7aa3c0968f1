"""Prints the dependencies of a package's program as a CycloneDX list (1.6, JSON).

    python scripts/dependencies.py PACKAGE TARGET
"""

from __future__ import annotations

import json
import subprocess
import sys


def metadata(package: str, target: str) -> dict:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def linked(resolve: dict, root: str) -> set[str]:
    """What the package is built from: its dependencies and theirs, without those of tests."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    seen: set[str] = set()
    rest = [root]
    while rest:
        package = rest.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                rest.append(dependency["pkg"])
    return seen


def component(package: dict, checksums: dict[tuple[str, str], str]) -> dict:
    name, version = package["name"], package["version"]
    found: dict = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
        "bom-ref": f"{name}@{version}",
    }
    if package.get("license"):
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((name, version)):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def lock_checksums() -> dict[tuple[str, str], str]:
    checksums: dict[tuple[str, str], str] = {}
    entry: dict[str, str] = {}
    with open("Cargo.lock", encoding="utf-8") as lock:
        for line in lock:
            if line.startswith("[[package]]"):
                entry = {}
            key, _, value = line.strip().partition(" = ")
            entry[key] = value.strip('"')
            if key == "checksum":
                checksums[entry["name"], entry["version"]] = entry["checksum"]
    return checksums


def main(package: str, target: str) -> None:
    data = metadata(package, target)
    by_id = {p["id"]: p for p in data["packages"]}
    root = next(p for p in data["packages"] if p["name"] == package)
    checksums = lock_checksums()
    ids = sorted(linked(data["resolve"], root["id"]), key=lambda i: by_id[i]["name"])
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}

    def ref(package_id: str) -> str:
        return f"{by_id[package_id]['name']}@{by_id[package_id]['version']}"

    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**component(root, checksums), "type": "application"}},
        "components": [component(by_id[i], checksums) for i in ids if i != root["id"]],
        "dependencies": [
            {
                "ref": ref(i),
                "dependsOn": sorted({ref(d["pkg"]) for d in nodes[i]["deps"] if d["pkg"] in ids}),
            }
            for i in ids
        ],
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
