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


def find(*paths: Path, **where: Any) -> Target:
    return find_target(Where(**where), {"KUBECONFIG": os.pathsep.join(map(str, paths))})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
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
        (("Impersonate-User", "somebody"),),
        "http://proxy:3128",
        "api",
    )


def test_a_context_may_name_no_user(tmp_path: Path) -> None:
    nobody: tuple[dict[str, Any], ...] = ({}, {"user": ""}, {"user": None})
    for number, who in enumerate(nobody):
        path = write(
            tmp_path / str(number),
            **{
                "current-context": "b",
                "clusters": [cluster("b")],
                "contexts": [{"name": "b", "context": {"cluster": "b", **who}}],
            },
        )
        assert (find(path).connection.headers(), find(path).headers) == ({}, ())


def test_a_user_that_is_named_must_be_there(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        **{
            "current-context": "b",
            "clusters": [cluster("b")],
            "contexts": [context("b")],
            "users": [user("c")],
        },
    )
    with pytest.raises(Failure, match="there is no user named 'b'; there are: c"):
        find(path)


IMPERSONATED = {
    "as": "ann",
    "as-uid": "7",
    "as-groups": ["ops", "shop"],
    "as-user-extra": {"Team/of": ["a", "b"]},
}


def test_whom_to_act_as_is_read_with_uid_groups_and_extras(tmp_path: Path) -> None:
    assert find(whole(tmp_path / "a", "blue", **IMPERSONATED)).headers == (
        ("Impersonate-User", "ann"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Group", "shop"),
        ("Impersonate-Extra-Team%2Fof", "a"),
        ("Impersonate-Extra-Team%2Fof", "b"),
    )


def test_an_option_to_act_as_comes_before_the_configuration_field_by_field(tmp_path: Path) -> None:
    path = whole(tmp_path / "a", "blue", **IMPERSONATED)
    where = Where(as_user="bob", as_group=("x",), as_user_extra=("k%=v=w",))
    assert find_target(where, {"KUBECONFIG": str(path)}).headers == (
        ("Impersonate-User", "bob"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "x"),
        ("Impersonate-Extra-k%25", "v=w"),
    )


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (Where(as_group=("ops",)), "without a user: give --as USER too"),
        (Where(as_uid="7"), "without a user: give --as USER too"),
        (Where(as_user="ann", as_user_extra=("k",)), "--as-user-extra k: give KEY=VALUE"),
        (Where(as_user="an\nn"), "holds what no header can"),
    ],
)
def test_what_nobody_can_act_as_is_wrong_use(tmp_path: Path, where: Where, message: str) -> None:
    path = whole(tmp_path / "a", "blue")
    with pytest.raises(Failure, match=message) as failure:
        find_target(where, {"KUBECONFIG": str(path)})
    assert failure.value.code is Exit.USAGE


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
