"""kubectl's configuration as the command reads it: several files are one, plugins are asked, faults are told."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.kubeconfig import Target, find_target
from stickyrouting.cli.options import Where


def write(path: Path, **config: Any) -> Path:
    """Write a kubeconfig; YAML understands JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    return path


def cluster(name: str, **content: Any) -> dict[str, Any]:
    return {"name": name, "cluster": {"server": f"http://{name}:1", **content}}


def context(name: str, **content: Any) -> dict[str, Any]:
    return {"name": name, "context": {"cluster": name, "user": name, **content}}


def user(name: str, **content: Any) -> dict[str, Any]:
    return {"name": name, "user": content}


def whole(path: Path, name: str, **user_content: Any) -> Path:
    """Write a kubeconfig of one cluster."""
    return write(
        path,
        **{
            "current-context": name,
            "clusters": [cluster(name)],
            "contexts": [context(name, namespace=f"ns-{name}")],
            "users": [user(name, **user_content)],
        },
    )


def find(*paths: Path, **where: str) -> Target:
    return find_target(Where(**where), {"KUBECONFIG": os.pathsep.join(map(str, paths))})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def test_the_current_context_says_server_namespace_and_token(tmp_path: Path) -> None:
    found = find(whole(tmp_path / "config", "blue", token="secret"))
    assert (found.connection.server, found.namespace, found.name) == (
        "http://blue:1",
        "ns-blue",
        "context blue",
    )
    assert found.connection.headers() == {"Authorization": "Bearer secret"}


def test_options_come_before_the_configuration(tmp_path: Path) -> None:
    one, two = whole(tmp_path / "a", "blue"), whole(tmp_path / "b", "green")
    assert find(one, two, context="green", namespace="x").connection.server == "http://green:1"
    assert find(one, two, context="green", namespace="x").namespace == "x"
    assert find(one, kubeconfig=str(two)).name == "context green"


def test_of_several_files_the_first_that_says_something_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "a", users=[user("blue", token="first")])
    second = whole(tmp_path / "b", "blue", token="second")
    found = find(first, tmp_path / "missing", second)
    assert (found.name, found.connection.headers()) == ("context blue", {"Authorization": "Bearer first"})


def test_the_home_directory_is_the_last_resort(home: Path) -> None:
    whole(home / ".kube" / "config", "blue")
    assert find_target(Where(), {}).name == "context blue"


def test_paths_start_at_the_file_in_which_they_stand(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "token").write_text("of a file\n")
    found = find(whole(tmp_path / "sub" / "config", "blue", tokenFile="token"))
    assert found.connection.headers() == {"Authorization": "Bearer of a file"}


def test_a_context_without_a_namespace_means_default(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        **{
            "current-context": "b",
            "clusters": [cluster("b")],
            "contexts": [context("b")],
            "users": [user("b")],
        },
    )
    assert find(path).namespace == "default"


def test_impersonation_and_proxy_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        **{
            "current-context": "b",
            "clusters": [cluster("b", **{"proxy-url": "http://proxy:3128", "tls-server-name": "api"})],
            "contexts": [context("b")],
            "users": [user("b", **{"as": "somebody"})],
        },
    )
    found = find(path)
    assert (found.headers, found.proxy, found.server_name) == (
        {"Impersonate-User": "somebody"},
        "http://proxy:3128",
        "api",
    )


def test_a_proxy_of_the_environment_is_used_for_all_but_what_it_excepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "green")
    assert find(whole(tmp_path / "a", "blue")).proxy == "http://proxy:3128"
    assert find(whole(tmp_path / "b", "green")).proxy is None
    assert find(whole(tmp_path / "c", "127.0.0.1")).proxy is None


def plugin(tmp_path: Path, script: str, **content: Any) -> Path:
    """Write a kubeconfig whose user is proved by a plugin beside it."""
    command = tmp_path / "login"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    version = "client.authentication.k8s.io/v1"
    return whole(tmp_path / "config", "blue", exec={"apiVersion": version, "command": "./login", **content})


def test_a_credential_plugin_is_asked_with_its_arguments_and_environment(tmp_path: Path) -> None:
    script = (
        """echo "$KUBERNETES_EXEC_INFO" > "$0.info"; echo "{\\"status\\": {\\"token\\": \\"$1-$PLACE\\"}}" """
    )
    path = plugin(
        tmp_path, script, args=["one"], env=[{"name": "PLACE", "value": "here"}], provideClusterInfo=True
    )
    assert find(path).connection.headers() == {"Authorization": "Bearer one-here"}
    told = json.loads((tmp_path / "login.info").read_text())
    assert (told["kind"], told["spec"]["cluster"]) == ("ExecCredential", {"server": "http://blue:1"})


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", r"login failed \(exit code 3\): log in as it says above"),
        ("echo nonsense", "gave no ExecCredential"),
        ("echo '{\"status\": {}}'", "neither token nor certificate"),
    ],
)
def test_a_credential_plugin_that_fails_is_named(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(Failure, match=message) as failure:
        find(plugin(tmp_path, script))
    assert failure.value.code is Exit.NO_CLUSTER


def test_a_credential_plugin_that_is_missing_is_named_with_its_own_hint(tmp_path: Path) -> None:
    path = plugin(tmp_path, "", command="./nowhere", installHint="Get it from example.com.")
    with pytest.raises(Failure, match=r"nowhere can't be run: No such file.*Get it from example\.com\."):
        find(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "can't be read"),
        ("[]", "holds no mapping"),
        ("{}", "no context is chosen: give --context"),
        ('{"current-context": "x"}', "there is no context named 'x'; there are: none"),
    ],
)
def test_a_configuration_that_can_not_be_used_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(Failure, match=message) as failure:
        find(path)
    assert failure.value.code is Exit.NO_CLUSTER


def test_without_any_configuration_the_message_says_where_one_may_be(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"give --kubeconfig, set KUBECONFIG, or make ~/\.kube/config"):
        find_target(Where(), {})
    with pytest.raises(Failure, match="there is no such file"):
        find_target(Where(kubeconfig=str(tmp_path / "x")), {})
