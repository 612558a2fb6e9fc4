"""Step time at other numbers of ranks, from a measured backward timeline (docs/methods/scaling.md).

Times in seconds, sizes in bytes, bandwidths in bytes per second.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    latency: float  # of one message
    bandwidth: float  # of one rank's way out


@dataclass(frozen=True)
class Cluster:
    num_ranks: int
    ranks_per_node: int
    between_nodes: Link  # bandwidth of one node's way out, shared by the node's ranks
    within_node: Link


@dataclass(frozen=True)
class Bucket:
    ready: float  # when its gradients are complete, since the step's begin
    num_bytes: int


@dataclass(frozen=True)
class Timeline:
    """Of one step without communication."""

    buckets: tuple  # of Bucket, in the order in which they leave
    backward_end: float
    step_end: float  # backward_end + optimiser


@dataclass(frozen=True)
class Forecast:
    num_ranks: int
    step_seconds: float
    exposed_seconds: float
    efficiency: float


def ring_seconds(num_bytes, num_members, link):
    """Ring all-reduce (Patarasuk and Yuan, 2009): 2 (n - 1) rounds, each of a message of 1/n of the bytes."""
    if num_members <= 1:
        return 0.0
    rounds = 2 * (num_members - 1)
    return rounds * (link.latency + num_bytes / num_members / link.bandwidth)


def all_reduce_seconds(num_bytes, cluster):
    """A ring within each node, and one across the nodes on which every local rank carries its share of the bytes."""
    local = min(cluster.ranks_per_node, cluster.num_ranks)
    nodes = -(-cluster.num_ranks // local)
    within = ring_seconds(num_bytes, local, cluster.within_node)
    shared = Link(cluster.between_nodes.latency, cluster.between_nodes.bandwidth / local)
    return within + ring_seconds(num_bytes / local, nodes, shared)


def step_seconds(timeline, cluster):
    """Buckets travel one after the other, each not before its gradients are complete."""
    free = 0.0
    for bucket in timeline.buckets:
        free = max(free, bucket.ready) + all_reduce_seconds(bucket.num_bytes, cluster)
    exposed = max(0.0, free - timeline.backward_end)
    return timeline.step_end + exposed, exposed


def forecast(timeline, cluster):
    seconds, exposed = step_seconds(timeline, cluster)
    return Forecast(cluster.num_ranks, seconds, exposed, timeline.step_end / seconds)


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def step_of(events, step):
    """Timeline of one step of a trace, one network trained in it."""
    spans = {event["name"]: event for event in events
             if event.get("ph") == "X" and event.get("args", {}).get("step") == step}
    begin = spans["step"]["ts"]
    backward_end = spans["backward"]["ts"] + spans["backward"]["dur"]
    waited = spans["exposed wait"]["dur"]
    starts = sorted((event for event in events
                     if event.get("ph") == "b" and event["args"]["step"] == step), key=lambda e: e["args"]["index"])
    buckets = tuple(Bucket((event["ts"] - begin) * 1e-6, event["args"]["bytes"]) for event in starts)
    step_end = begin + spans["step"]["dur"] - waited
    return Timeline(buckets, (backward_end - begin) * 1e-6, (step_end - begin) * 1e-6)


def timeline_of(events, num_warm_up=2):
    """The median over the steps of a trace, the first ones left out."""
    steps = sorted(event["args"]["step"] for event in events if event.get("ph") == "X" and event["name"] == "step")
    steps = steps[num_warm_up:] or steps
    if not steps:
        raise ValueError("the trace holds no step")
    measured = [step_of(events, step) for step in steps]
    if len({tuple(bucket.num_bytes for bucket in timeline.buckets) for timeline in measured}) != 1:
        raise ValueError("the steps of the trace have different buckets: trace a stage that trains one network")
    buckets = tuple(Bucket(median([timeline.buckets[i].ready for timeline in measured]), bucket.num_bytes)
                    for i, bucket in enumerate(measured[0].buckets))
    return Timeline(buckets, median([timeline.backward_end for timeline in measured]),
                    median([timeline.step_end for timeline in measured]))
