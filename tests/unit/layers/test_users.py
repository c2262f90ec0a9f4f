"""Users as a layer: what the base has stays, what is added is the same whenever it is added."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.facts import EMPTY_FACTS, BaseFacts, DirectoryFact
from lamella.graph.op import NewUser, UsersOp
from lamella.layers.accounts import parse_group, parse_passwd
from lamella.layers.place import AddedUsers, add_users

PASSWD = "root:x:0:0:root:/root:/bin/bash\nbroken line\nwww:x:33:33:www:/var/www:/usr/sbin/nologin\n"
GROUP = "root:x:0:\nshadow:x:42:\nwww:x:33:a,b\n"
DEBIAN = BaseFacts(
    directories=FrozenMap(
        {path: DirectoryFact(path, 0o755, 0, 0) for path in ("/", "/etc", "/home", "/usr", "/usr/bin")}
    ),
    symlinks=FrozenMap({"/bin": "usr/bin"}),
    files=FrozenMap(
        {
            "/etc/passwd": PASSWD,
            "/etc/group": GROUP,
            "/etc/shadow": "root:*:19000:0:99999:7:::\n",
            "/etc/gshadow": "root:*::\n",
            "/usr/sbin/nologin": "",
            "/usr/bin/bash": "",
        }
    ),
    users=parse_passwd(PASSWD),
    groups=parse_group(GROUP),
)
SHOP = NewUser("shop", 10001, 10001)


def add(*users: NewUser, facts: BaseFacts = DEBIAN) -> AddedUsers:
    return add_users(UsersOp(users), facts)


def test_a_user_is_added_to_all_four_files_with_a_home() -> None:
    added = add(SHOP)
    assert added.files["etc/passwd"].decode() == f"{PASSWD}shop:x:10001:10001::/home/shop:/usr/sbin/nologin\n"
    assert added.files["etc/group"].decode() == f"{GROUP}shop:x:10001:\n"
    assert added.files["etc/shadow"].decode() == "root:*:19000:0:99999:7:::\nshop:!:::::::\n"
    assert added.files["etc/gshadow"].decode() == "root:*::\nshop:!::\n"
    assert [(e.path, e.mode, e.uid, e.gid) for e in added.fileset] == [
        ("etc", 0o755, 0, 0),
        ("etc/group", 0o644, 0, 0),
        ("etc/gshadow", 0o640, 0, 42),
        ("etc/passwd", 0o644, 0, 0),
        ("etc/shadow", 0o640, 0, 42),
        ("home", 0o755, 0, 0),
        ("home/shop", 0o755, 10001, 10001),
    ]


def test_the_facts_above_know_the_user_the_home_and_the_new_texts() -> None:
    facts = add(SHOP).facts
    assert facts.owner_ids("shop") == (10001, 10001)
    assert facts.owner_ids("shop:shop") == (10001, 10001)
    assert facts.directories["/home/shop"].uid == 10001
    again = add_users(UsersOp((NewUser("ops", 5, 10001),)), facts)
    assert again.files["etc/passwd"].decode().count("shop:x:") == 1
    assert "etc/group" not in again.files


def test_a_base_without_shadow_files_gets_none() -> None:
    plain = replace(DEBIAN, files=FrozenMap({"/etc/passwd": PASSWD.rstrip("\n"), "/etc/group": GROUP}))
    added = add(SHOP, facts=plain)
    assert sorted(added.files) == ["etc/group", "etc/passwd"]
    assert added.files["etc/passwd"].decode().splitlines()[-1] == "shop:x:10001:10001::/home/shop:/sbin/nologin"


def test_scratch_gets_its_first_user() -> None:
    added = add(SHOP, facts=EMPTY_FACTS)
    assert added.files["etc/passwd"] == b"shop:x:10001:10001::/home/shop:/sbin/nologin\n"
    assert [e.path for e in added.fileset] == ["etc", "etc/group", "etc/passwd", "home", "home/shop"]


def test_sudo_brings_a_rule_and_a_real_shell() -> None:
    added = add(NewUser("dev.ops", 1000, 1000, sudo=True))
    assert added.files["etc/sudoers.d/dev_ops"] == b"dev.ops ALL=(ALL:ALL) NOPASSWD:ALL\n"
    rule, folder = added.fileset.get("etc/sudoers.d/dev_ops"), added.fileset.get("etc/sudoers.d")
    assert rule is not None
    assert folder is not None
    assert (rule.mode, folder.mode) == (0o440, 0o750)
    assert b":/bin/bash\n" in added.files["etc/passwd"]


def test_home_and_shell_as_wished() -> None:
    added = add(NewUser("app", 7, 33, home="/srv/app", shell="/bin/zsh"))
    assert added.files["etc/passwd"].endswith(b"app:x:7:33::/srv/app:/bin/zsh\n")
    assert "etc/group" not in added.files
    assert [(e.path, e.uid) for e in added.fileset if e.path.startswith("srv")] == [("srv", 0), ("srv/app", 7)]


def test_a_home_that_the_base_has_is_left_alone() -> None:
    added = add(NewUser("app", 7, 7, home="/usr/bin"))
    assert [e.path for e in added.fileset if e.path.startswith("usr")] == []


@pytest.mark.parametrize("home", ["/", "/nonexistent", "/dev/null"])
def test_a_user_without_a_home_gets_none(home: str) -> None:
    added = add(NewUser("app", 7, 7, home=home))
    assert {e.path for e in added.fileset} == {"etc", "etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"}


def test_a_user_that_is_there_already_is_left_alone() -> None:
    assert len(add(NewUser("www", 33, 33)).fileset) == 0


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (NewUser("www", 34, 33), "is there already as 33:33"),
        (NewUser("web", 33, 33), "which 'www' has"),
        (NewUser("www-data", 0, 5), "which 'root' has"),
        (NewUser("shadow", 5, 5), "group of that name"),
    ],
)
def test_a_name_or_id_of_somebody_else_is_an_error_that_lists_the_base(user: NewUser, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        add(user)
    assert "root (0)" in caught.value.hint
    assert "www (33)" in caught.value.hint


@pytest.mark.parametrize(
    "user",
    [
        NewUser("a:b", 5, 5),
        NewUser("a\nroot2", 5, 5),
        NewUser("", 5, 5),
        NewUser("Upper", 5, 5),
        NewUser("x" * 33, 5, 5),
        NewUser("ok", -1, 5),
        NewUser("ok", 5, 1 << 32),
        NewUser("ok", 5, 5, home="relative"),
        NewUser("ok", 5, 5, home="/a:/b"),
        NewUser("ok", 5, 5, shell="/bin/sh\nroot::0:0::/:"),
    ],
)
def test_what_would_break_the_lines_of_passwd_is_an_error(user: NewUser) -> None:
    with pytest.raises(ConfigError):
        add(user)
