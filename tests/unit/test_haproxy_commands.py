"""Runtime commands: the literal text, and how HAProxy 3.0's answers are read."""

import pytest

from stickyrouting.haproxy.commands import (
    AddServer,
    AddToMap,
    ClearTableKey,
    DelServer,
    DisableFrontend,
    EnableHealth,
    EnableServer,
    PeersReport,
    PrepareMap,
    ProcReport,
    Reload,
    ServerLine,
    ServerState,
    SetMap,
    SetState,
    SetTable,
    SetTally,
    SetWeight,
    ShowMap,
    ShowPeers,
    ShowProc,
    ShowServersState,
    ShowStat,
    ShowTableKey,
    ShowTableUsed,
    ShowTallies,
    StatLine,
    TableEntry,
    TableUse,
    Worker,
)
from stickyrouting.haproxy.errors import AnswerUnreadable, CommandRefused, ReloadFailed
from stickyrouting.model.desired import HealthCheck
from stickyrouting.render.maps import MapEntry

COLUMNS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port"
)
STATE = f"""1
# {COLUMNS}
6 app 5 s5 127.0.0.9 0 0 1 1 6 8 2 0 6 0 0 1 - 9 - 0 0 - - 0
6 app 9 s9 ::1 0 1 100 1 0 1 0 0 2 0 0 1 - 10 - 0 0 - - 0

"""
PROC = """#<PID>          <type>          <reloads>       <uptime>        <version>
29369           master          1 [failed: 0]   0d00h00m27s     3.0.11-1+deb13u3
# workers
29854           worker          0               0d00h00m01s     3.0.11-1+deb13u3
# old workers
29374           worker          1               1d02h03m27s     3.0.11-1+deb13u3
# programs

"""


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            AddServer(7, "198.18.81.3", 8080, 100, HealthCheck(interval_ms=500, fall=3, rise=1)),
            "add server app/s7 198.18.81.3:8080 id 7 weight 100 check inter 500ms fastinter 500ms fall 3 rise 1"
            " observe layer4 error-limit 1 on-error fastinter",
        ),
        (
            AddServer(8, "2001:db8::3", 80, 0, HealthCheck()),
            "add server app/s8 [2001:db8::3]:80 id 8 weight 0 check inter 1000ms fastinter 1000ms fall 3 rise 1"
            " observe layer4 error-limit 1 on-error fastinter",
        ),
        (EnableHealth(7), "enable health app/s7"),
        (EnableServer(7), "enable server app/s7"),
        (SetWeight(7, 0), "set server app/s7 weight 0"),
        (ClearTableKey("ids", "7"), "clear table ids key 7"),
        (SetState(7, ServerState.MAINT), "set server app/s7 state maint"),
        (DelServer(7), "del server app/s7"),
        (PrepareMap("/run/a.map"), "prepare map /run/a.map"),
        (
            AddToMap("/run/a.map", 3, (MapEntry("k", "v w"), MapEntry("x", "y"))),
            "add map @3 /run/a.map <<\nk v w\nx y\n",
        ),
        (SetMap("/run/a.map", "k", "v"), "set map /run/a.map k v"),
        (SetTable("ctl", "ready", 1), "set table ctl key ready data.gpt0 1"),
        (DisableFrontend("fe"), "disable frontend fe"),
    ],
)
def test_commands_are_these_literal_lines(command: AddServer, text: str) -> None:
    assert command.text == text


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (AddServer(7, "198.18.81.3", 80, 1, HealthCheck()), "'id' : custom id 7 already used\n"),
        (EnableServer(7), "No such server.\n"),
        (DelServer(7), "Server still has connections attached to it, cannot remove it.\n"),
        (SetMap("/run/a.map", "k", "v"), "entry not found.\n"),
        (PrepareMap("/run/a.map"), "Unknown map identifier.\n"),
        (ShowMap("/run/a.map"), "Unknown map identifier. Please use #<id> or <file>.\n"),
        (DisableFrontend("fe"), "No such frontend.\n"),
        (SetTable("x", "k", 1), "No such table\n"),
    ],
)
def test_an_objection_is_raised_with_command_and_answer(command: EnableServer, answer: str) -> None:
    with pytest.raises(CommandRefused) as caught:
        command.parse(answer)
    assert answer.strip() in str(caught.value)


def test_success_is_silence_or_the_known_word() -> None:
    AddServer(7, "198.18.81.3", 80, 1, HealthCheck()).parse("New server registered.\n\n")
    EnableServer(7).parse("\n")
    DelServer(7).parse("Server deleted.\n\n")
    assert PrepareMap("/run/a.map").parse("New version created: 12\n\n") == 12


def test_a_server_that_is_gone_counts_as_deleted() -> None:
    DelServer(7).parse("No such server.\n\n")


def test_maps_may_hold_values_with_spaces() -> None:
    answer = "0x7fcddf2294d0 a b\n0x7fcddf229540 k v v2\n\n"
    assert ShowMap("/run/a.map").parse(answer) == (("a", "b"), ("k", "v v2"))


def test_a_table_entry_is_found_or_not() -> None:
    answer = "# table: sess, type: string, size:1048576, used:1\n0x7f: key=abc use=2 exp=1800000 shard=0 gpt0=5\n\n"
    assert ShowTableKey("sess", "abc").parse(answer) == TableEntry("abc", 5, 1_800_000, 2)
    assert ShowTableKey("sess", "abc").parse("\n") is None


def test_the_use_of_all_tables_is_read_at_once() -> None:
    answer = "# table: live, type: string, size:204800, used:0\n# table: sess, type: string, size:1048576, used:7\n\n"
    assert ShowTableUsed().parse(answer) == {"live": TableUse(204800, 0), "sess": TableUse(1048576, 7)}


def test_workers_and_old_workers_are_told_apart() -> None:
    assert ShowProc().parse(PROC) == ProcReport((Worker(29854, 0, 1),), (Worker(29374, 1, 93807),), 1)


@pytest.mark.parametrize(("flags", "refilled"), [(0x100001, False), (0x100002, False), (0x11000003, True)])
def test_a_worker_is_refilled_when_both_flags_stand(flags: int, refilled: bool) -> None:
    report = ShowPeers().parse(
        f"0x7fcd: [21/Nov/2026:21:25:09] id=pp disabled=0 flags={flags:#x} resync_timeout=3s\n"
    )
    assert (report, report.refilled) == (PeersReport(flags), refilled)


def test_servers_are_read_by_column_names() -> None:
    found = ShowServersState().parse(STATE)
    assert found.servers == (
        ServerLine("app", 5, "s5", "127.0.0.9", 9, 1, maint=False),
        ServerLine("app", 9, "s9", "::1", 10, 100, maint=True),
    )
    assert found.text.startswith("1\n# be_id")


def test_statistics_are_read_by_column_names() -> None:
    answer = (
        "# pxname,svname,qcur,qmax,scur,econ,status,\n"
        "fe,FRONTEND,,,3,,OPEN,\n,,,0,0,,,\napp,BACKEND,2,2,1,7,UP,\n\n"
    )
    assert ShowStat().parse(answer) == (
        StatLine("fe", "FRONTEND", 3, 0, "OPEN"),
        StatLine("app", "BACKEND", 1, 2, "UP", unserved=7),
    )


def test_tallies_are_read_by_their_words() -> None:
    head = "# table: own/tally, type: string, size:64, used:2\n"
    lines = (
        "0x55d0: key=cookie.expired use=0 exp=0 shard=0 gpc0=12\n"
        "0x55d1: key=rejected.gone use=1 exp=0 shard=0 gpc0=3\n"
    )
    assert ShowTallies("own/tally").text == "show table own/tally"
    assert ShowTallies("own/tally").parse(head + lines) == {"cookie.expired": 12, "rejected.gone": 3}
    assert ShowTallies("own/tally").parse(head) == {}
    births = "0x55d2: key=birth use=0 exp=0 shard=0 gpc0=0 gpc1=5\n0x55d3: key=a use=0 exp=0 shard=0 gpc0=1 gpc1=2\n"
    assert ShowTallies("own/tally").parse(head + births) == {"a": 1, "birth": 7}
    assert SetTally("own/tally", "seen/a", 7).text == "set table own/tally key seen/a data.gpc0 7"
    with pytest.raises(AnswerUnreadable):
        ShowTallies("own/tally").parse(head + "0x55d0: key=a use=0 exp=0 shard=0 gpt0=1\n")
    with pytest.raises(CommandRefused):
        ShowTallies("own/tally").parse("No such table\n")


def test_a_reload_that_failed_raises_its_log() -> None:
    Reload().parse("Success=1\n--\n[NOTICE] (1) : Loading success.\n")
    with pytest.raises(ReloadFailed, match="parsing"):
        Reload().parse("Success=0\n--\n[ALERT] (1) : config : parsing [x:1]\n")


@pytest.mark.parametrize("command", [ShowProc(), ShowPeers(), ShowServersState(), ShowStat()])
def test_answers_of_another_language_are_errors(command: ShowProc) -> None:
    with pytest.raises(AnswerUnreadable):
        command.parse("Permission denied\n")
