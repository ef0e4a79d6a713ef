"""Is there room: the machine (node-exporter) and the containers (cAdvisor)."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from scripts.dashboards.pages import Row, page
from scripts.dashboards.panels import ANY_IS_BAD, BAD, DOUBTFUL, GOOD, Panel, Query, Steps, bars, lines, number
from scripts.dashboards.service import RATE

SERVICE = "container_label_com_docker_compose_service"
OURS = f'{{{SERVICE}!=""}}'
NOT_HERE = "needs profile host"
FULL: Steps = ((None, GOOD), (0.8, DOUBTFUL), (0.9, BAD))
DISKS = 'fstype!~"tmpfs|ramfs|overlay|squashfs|devtmpfs|fuse.*"'
BUSY = f'1 - avg(rate(node_cpu_seconds_total{{mode="idle"}}[{RATE}]))'
HELD = "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"
FILLED = f"max by (device) (1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}})"
OF_LIMIT = (
    f"max by ({SERVICE}) (container_memory_working_set_bytes{OURS}) / "
    f"(max by ({SERVICE}) (container_spec_memory_limit_bytes{OURS}) > 0)"
)


def dashboard() -> Dashboard:
    """CPU, memory, disk and network of the machine and of each container."""
    content = [Row("", _glance()), Row("Machine", _machine()), Row("Containers", _containers())]
    about = "Is there room? Empty unless profile host is on: COMPOSE_PROFILES=host make up."
    return page("boucle-host", "Host and containers", about, content)


def _glance() -> list[Panel]:
    return [
        number(
            "CPU", "Share of all cores that is busy. Normal: below 80 %.", BUSY, "percentunit", FULL, absent=NOT_HERE
        ),
        number(
            "Memory",
            "Share of the machine's memory that is in use; what it only caches counts as free. Normal: below 80 %.",
            f"max({HELD})",
            "percentunit",
            FULL,
            absent=NOT_HERE,
        ),
        number(
            "Fullest disk",
            "Share of the fullest disk that is in use. Normal: below 80 %. docs/runbooks/DiskFull.md.",
            f"max({FILLED})",
            "percentunit",
            FULL,
            absent=NOT_HERE,
        ),
        number(
            "Container nearest its limit",
            "Memory that the container holds, as a share of what it may; beyond it the kernel kills it. Normal: below "
            "80 %. docs/runbooks/ContainerMemoryHigh.md.",
            f"max({OF_LIMIT})",
            "percentunit",
            FULL,
            absent=NOT_HERE,
        ),
        number(
            "Restarts within an hour",
            "How often a container of ours began anew: then its CPU time starts at 0 again. Normal: 0. Who, and why: "
            "`make ps`, `make logs`.",
            f"sum(resets(container_cpu_user_seconds_total{OURS}[1h]))",
            "none",
            ANY_IS_BAD,
            absent=NOT_HERE,
        ),
        number(
            "Killed for memory within an hour",
            "How often the kernel killed a process of this machine, because its container or the machine had no memory "
            "left. Normal: 0. docs/runbooks/ContainerMemoryHigh.md.",
            "sum(increase(node_vmstat_oom_kill[1h]))",
            "none",
            ANY_IS_BAD,
            absent=NOT_HERE,
        ),
    ]


def _machine() -> list[Panel]:
    return [
        lines(
            "CPU",
            "Share of all cores, by what they do. Normal: below 80 % together; iowait is waiting for a disk.",
            [
                Query(
                    f'sum by (mode) (rate(node_cpu_seconds_total{{mode!="idle"}}[{RATE}])) / on () group_left () '
                    'count(node_cpu_seconds_total{mode="idle"})',
                    "{{mode}}",
                )
            ],
            "percentunit",
            stacked=True,
            at_most=1,
        ),
        lines(
            "Load",
            "Processes that run or wait for a core or a disk; dashed: the cores that there are. Normal: below that.",
            [
                Query("max(node_load1)", "1 minute"),
                Query("max(node_load15)", "15 minutes"),
                Query('count(node_cpu_seconds_total{mode="idle"})', "cores"),
            ],
            "none",
            dashed="cores",
        ),
        lines(
            "Memory",
            "In use; dashed: all that there is. Normal: below 80 % of it.",
            [
                Query("max(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes)", "in use"),
                Query("max(node_memory_MemTotal_bytes)", "total"),
            ],
            "bytes",
            dashed="total",
        ),
        lines(
            "Disks, how full",
            "Share in use, by device. Normal: below 80 %.",
            [Query(FILLED, "{{device}}")],
            "percentunit",
            at_most=1,
        ),
        lines(
            "Disks, traffic",
            "Bytes a second that all disks read and wrote.",
            [
                Query(f"sum(rate(node_disk_read_bytes_total[{RATE}]))", "read"),
                Query(f"sum(rate(node_disk_written_bytes_total[{RATE}]))", "written"),
            ],
            "Bps",
        ),
        lines(
            "Network",
            "Bytes a second over all interfaces but lo.",
            [
                Query(f'sum(rate(node_network_receive_bytes_total{{device!="lo"}}[{RATE}]))', "received"),
                Query(f'sum(rate(node_network_transmit_bytes_total{{device!="lo"}}[{RATE}]))', "sent"),
            ],
            "Bps",
        ),
    ]


def _containers() -> list[Panel]:
    return [
        lines(
            "CPU by container",
            "Cores that each service uses. Normal: the trainer takes what is left over.",
            [
                Query(
                    f"sum by ({SERVICE}) (rate(container_cpu_usage_seconds_total{OURS}[{RATE}]))", f"{{{{{SERVICE}}}}}"
                )
            ],
            "none",
        ),
        bars(
            "Memory, of what each may hold",
            "Working set as a share of the limit (…_MEMORY in .env). Normal: below 80 %.",
            Query(OF_LIMIT, f"{{{{{SERVICE}}}}}"),
            "percentunit",
            FULL,
            at_most=1,
        ),
        lines(
            "Memory by container",
            "Working set: what cannot be taken away. Normal: level.",
            [Query(f"sum by ({SERVICE}) (container_memory_working_set_bytes{OURS})", f"{{{{{SERVICE}}}}}")],
            "bytes",
        ),
        lines(
            "Network by container",
            "Bytes a second received and sent.",
            [
                Query(
                    f"sum by ({SERVICE}) (rate(container_network_receive_bytes_total{OURS}[{RATE}]))"
                    f" + sum by ({SERVICE}) (rate(container_network_transmit_bytes_total{OURS}[{RATE}]))",
                    f"{{{{{SERVICE}}}}}",
                )
            ],
            "Bps",
        ),
    ]
