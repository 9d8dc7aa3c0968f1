"""Rows: pulls and removals that are killed at any instant."""

from .bundles import ID, OLD, Killed, bundle, left_behind, tiny, vector
from .harness import row
from .hub import Hub


@row("kill -9 of models pull", "the model, or a clear error; the next pull completes it", seconds=90)
def pull_killed(setup):
    hub = Hub(ID, OLD, tiny())
    variables = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "", "HF_HUB_OFFLINE": ""}
    command = ("models", "pull", ID, "--no-verify")
    first = setup.directory / "first"
    done = setup.akidb(*command, AKIDB_HOME=first, **variables)
    assert done.returncode == 0, done.stderr.decode()
    known = vector(setup, first)[0]
    killed = Killed(setup)
    killed.usual = 0.15
    wrong, incomplete, unlisted = [], 0, 0
    for i in range(100):
        home = setup.directory / f"home-{i}"
        killed.run(*command, home=home, **variables)
        made, error = vector(setup, home)
        if made is not None and made != known:
            wrong.append("other vectors")
        elif made is None and "error:" not in error:
            wrong.append(error)
        unlisted += setup.akidb("models", "list", AKIDB_HOME=home).returncode != 0
        if i % 3 == 0:
            done = setup.akidb(*command, AKIDB_HOME=home, **variables)
            incomplete += done.returncode != 0 or vector(setup, home)[0] != known
        if killed.landed == 60:
            break
    setup.check("kills that make wrong vectors or crash", f"{len(wrong)} of {killed.landed} {wrong[:1]}", not wrong)
    setup.check("models list fails", unlisted, not unlisted)
    setup.check("the next pull doesn't complete it", incomplete, not incomplete and killed.landed > 20)


@row("kill -9 of models remove", "the model, or a clear error; removing it again completes it", seconds=90)
def remove_killed(setup):
    path = setup.directory / "bundle.tar"
    path.write_bytes(bundle(tiny()))
    home = setup.directory / "home"
    put = ("models", "import", path)
    remove = ("models", "remove", ID, "--yes")
    killed = Killed(setup)
    assert setup.akidb(*put, AKIDB_HOME=home).returncode == 0
    known = vector(setup, home)[0]
    killed.measure((remove, home))
    wrong, stays, partly = [], 0, 0
    for _ in range(150):
        setup.akidb(*put, AKIDB_HOME=home)
        if not killed.run(*remove, home=home):
            continue
        made, error = vector(setup, home)
        partly += made is None and bool(left_behind(home))
        if made is not None and made != known:
            wrong.append("other vectors")
        elif made is None and "error:" not in error:
            wrong.append(error)
        if left_behind(home):
            setup.akidb(*remove, AKIDB_HOME=home)
            stays += bool(left_behind(home))
        if killed.landed == 60:
            break
    shown = f"{len(wrong)} of {killed.landed} {wrong[:1]}; {partly} left a part"
    setup.check("kills that make wrong vectors or crash", shown, not wrong)
    setup.check("still there after the next removal", stays, not stays and killed.landed > 20)
