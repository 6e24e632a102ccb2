"""How many processors there are to use."""

import pytest

from cello.serve.cpus import cgroup_quota, usable_cpus


def write(root, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        pytest.param("0::/a/b\n", {}, None, id="no files"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None, id="v2 without quota"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5, id="v2 own quota"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "max 1\n", "a/cpu.max": "50000 100000\n"}, 0.5, id="v2 of a parent"),
        pytest.param("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0, id="v2 in a container"),
        pytest.param("0::/gone\n", {"cpu.max": "300000 100000\n"}, 3.0, id="v2 path unseen in a container"),
        pytest.param(
            "4:cpu,cpuacct:/a\n3:memory:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            2.5,
            id="v1",
        ),
        pytest.param(
            "4:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            None,
            id="v1 without quota",
        ),
    ],
)
def test_the_tightest_cgroup_quota_is_found(tmp_path, membership, files, expected):
    write(tmp_path / "cgroup", files)
    (tmp_path / "own").write_text(membership)
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "own") == expected


def test_without_cgroups_there_is_no_quota(tmp_path):
    assert cgroup_quota(tmp_path, tmp_path / "own") is None


def test_a_quota_is_rounded_up_and_never_exceeds_the_affinity(monkeypatch):
    monkeypatch.setattr("cello.serve.cpus._affinity", lambda: 4)
    for quota, expected in ((None, 4), (0.2, 1), (1.5, 2), (9.0, 4)):
        monkeypatch.setattr("cello.serve.cpus.cgroup_quota", lambda quota=quota: quota)
        assert usable_cpus() == expected


def test_this_machine_has_at_least_one():
    assert usable_cpus() >= 1
