"""How the study was measured, as (heading, sentence) pairs for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from autoprune.domain.record import LASTING_CHANGE_ALLOWED, LONG, UNTRAINED, Fingerprint
from autoprune.domain.stages import STAGES
from autoprune.report import wording
from autoprune.report.shortcuts import shortcuts
from autoprune.report.study import Study, is_repeat

_CLASSES_SHOWN = 20


def facts(study: Study) -> list[tuple[str, str]]:
    """Everything a reader needs to judge or repeat the numbers; what is unknown is left out."""
    pairs = [
        ("Model", _model(study)),
        ("Classes", _classes(study)),
        ("Data", _data(study)),
        ("Runtime", _runtime(study)),
        ("Machine", _machine(study)),
        ("Image size", _image_size(study)),
        ("Noise", _noise(study)),
        ("Clock", _clock(study)),
        ("Pruning", _pruning(study)),
        ("Search", _search(study)),
        ("Trials", _trials(study)),
        *((name.capitalize(), _rung(study, rung)) for rung, name in wording.RUNGS.items()),
        ("Fine-tune", _fine_tune(study)),
        ("Time", _time(study)),
        ("Where the time went", _stages(study)),
        ("Versions", ", ".join(f"{k} {v}" for k, v in study.settings.versions.items() if v)),
    ]
    return [(heading, sentence) for heading, sentence in pairs if sentence]


def warnings(study: Study) -> list[str]:
    """What makes the numbers less trustworthy, one sentence each."""
    found = [f"Left out: {why}." for why in study.broken]
    found += [f"Images: {note}." for note in study.settings.data.notes]
    if study.dense is not None:
        found += [f"Dense model: {note}." for note in study.dense.notes]
    if overlap := overlap_text(study.settings.data.overlap):
        found.append(overlap)
    unsteady = [r for r in study.records if r.latency is not None and not r.latency.steady]
    if unsteady:
        found.append(
            f"{wording.plural(len(unsteady), 'measurement')} did not become steady in the time "
            "allowed (another program was probably busy): the intervals are wide for a reason."
        )
    changed = [
        r for r in unsteady if r.latency and r.latency.lasting_change > LASTING_CHANGE_ALLOWED
    ]
    if changed:
        most = max(r.latency.lasting_change for r in changed if r.latency)
        found.append(
            f"During {wording.plural(len(changed), 'measurement')} the machine changed its speed"
            f" for good, by up to {most:.0%}."
        )
    if len(_fingerprints(study)) > 1:
        found.append(
            "Records of this study were measured on different runtimes or machines; "
            "their milliseconds are not comparable."
        )
    found += [shortcut.warning for shortcut in shortcuts(study) if shortcut.warning]
    if harmed := _harmed(study):
        found.append(harmed)
    return found


def _harmed(study: Study) -> str:
    """A sentence when the short fine-tune made the highlighted plan worse."""
    record = study.highlight
    if record is None or record.kind == "dense":
        return ""
    before, after = record.untrained_map50_95, record.fine_tuned_map50_95
    if before is None or after is None or after >= before:
        return ""
    return (
        f"The short fine-tune lowered this plan's {study.metric} on val, from"
        f" {wording.score(before)} to {wording.score(after)}. That can be chance"
        " where val is small; or the fine-tune is too short or its lr0 too high."
    )


def overlap_text(overlap: Any) -> str:
    """A sentence about val images that are in train too, or nothing."""
    if not overlap:
        return ""
    if isinstance(overlap, str):
        return overlap
    number = len(overlap) if isinstance(overlap, (list, dict)) else overlap
    if number is True:
        return "Some val images are in train too: the mAP shown is too good."
    return f"{number} of the val images are in train too: the mAP shown is too good."


def _model(study: Study) -> str:
    model = study.settings.model
    name = model.file or ("the bundled demo model" if study.settings.demo else "")
    branch = f"deployed branch: {model.branch}" if model.branch else ""
    return _joined(name, model.family, branch, f"hash {model.hash[:12]}" if model.hash else "")


def _classes(study: Study) -> str:
    model = study.settings.model
    names = model.class_names
    if not names:
        return str(model.classes) if isinstance(model.classes, int) else ""
    shown = ", ".join(names[:_CLASSES_SHOWN])
    more = len(names) - _CLASSES_SHOWN
    return f"{len(names)}: {shown}" + (f" and {more} more" if more > 0 else "")


def _data(study: Study) -> str:
    data = study.settings.data
    name = data.file or ("the generated demo set" if study.settings.demo else "")
    counts = [
        f"{number} {split}"
        for number, split in ((data.train_images, "train"), (data.val_images, "val"))
        if number is not None
    ]
    if data.final_images:
        counts.append(
            f"{data.final_images} never used by the search ({data.final_split or 'final'})"
        )
    return _joined(name, f"images: {', '.join(counts)}" if counts else "")


def _runtime(study: Study) -> str:
    mark = _fingerprint(study)
    if mark is None:
        return ""
    threads = wording.plural(mark.threads, "thread")
    runs = f"{mark.runtime} {mark.runtime_version}, {mark.provider}, {mark.precision}"
    return f"{runs}, {threads}, batch {mark.batch}"


def _machine(study: Study) -> str:
    mark, machine = _fingerprint(study), study.settings.machine
    cpu = mark.cpu if mark else machine.get("cpu")
    system = mark.system if mark else machine.get("system")
    isa, target = mark.isa if mark else "", study.settings.asked.target
    if target not in (None, "local"):  # the cores known are those of the machine that searched
        return _joined(target, cpu, isa, system)
    cores = machine.get("cores")
    return _joined(cpu, isa, f"{cores} cores" if cores else "", system)


def _image_size(study: Study) -> str:
    mark = _fingerprint(study)
    size = mark.imgsz if mark else study.settings.asked.imgsz
    return f"{size[0]} x {size[1]} px (height x width)" if size else ""


def _noise(study: Study) -> str:
    if study.dense is None or study.dense.latency is None:
        return ""
    result = study.dense.latency
    return (
        f"the dense model, measured repeatedly, is known to {wording.half_width(result)}: "
        f"{wording.latency(result)}; every candidate was timed interleaved with it{_beside(study)}"
    )


def _beside(study: Study) -> str:
    """What the dense model took beside the candidates: how far the machine drifted."""
    times = [r.latency.dense_now_ms for r in study.records if r.latency and r.kind != "dense"]
    known = [time_ms for time_ms in times if time_ms is not None]
    return f", taking {min(known):.2f} to {max(known):.2f} ms then" if known else ""


def _clock(study: Study) -> str:
    """Which time counts; the runner's rule, said where the numbers are read."""
    mark = _fingerprint(study)
    if mark is None:
        return ""
    if mark.runtime == "torch" and mark.provider.startswith("cuda"):
        return "time on the GPU, between two of its events"
    own_core = mark.threads == 1 and mark.provider.lower().startswith("cpu")
    if own_core and not mark.system.startswith("Windows"):
        return "time on a core of its own: what another program on that core took is not counted"
    return "wall time"


def _fine_tune(study: Study) -> str:
    device = study.settings.device
    named = [
        f"{key} {value}"
        for key, value in study.settings.fine_tune.items()
        if value is not None and key != "device"
    ]
    return _joined(*named, f"device {device}" if device else "")


def _rung(study: Study, rung: int) -> str:
    """How many plans got how much training at a rung; nothing when none got there."""
    candidates = [r for r in study.records if r.kind != "dense" and not is_repeat(r)]
    scores = [score for r in candidates if (score := r.at_rung(rung)) is not None]
    if not scores:
        return ""
    counts = Counter(r.kind for r in candidates if r.at_rung(rung) is not None)
    plans = " and ".join(wording.plural(n, kind) for kind, n in sorted(counts.items()))
    if rung == UNTRAINED:
        images = max(score.metrics.images for score in scores)
        return f"{plans}, validated right after pruning on {wording.plural(images, 'image')}"
    epochs = _span(score.epochs for score in scores)
    more = " on top of the short fine-tune" if rung == LONG else ""
    each = "" if len(scores) == 1 else " each"
    seen = _span(score.images_seen for score in scores)
    frozen = sum(score.frozen_norms for score in scores)
    norms = f"; batch norms keep their mean and variance in {frozen} of them" if frozen else ""
    return f"{plans}, epochs: {epochs}{more}, images seen: {seen}{each}{norms}"


def _span(values: Iterable[int]) -> str:
    found = sorted(values)
    return f"{found[0]:,}" if found[0] == found[-1] else f"{found[0]:,} to {found[-1]:,}"


def _pruning(study: Study) -> str:
    """How channels were ranked, and which images were looked at for it."""
    settings, asked = study.settings, study.settings.asked
    importance = settings.importance or asked.importance
    compensate = asked.compensate if settings.compensate is None else settings.compensate
    plans = (record.plan.get("calibration") for record in reversed(study.records))
    calibration: Any = next((found for found in plans if found), {})
    images = calibration.get("images") if isinstance(calibration, dict) else None
    said = {True: "weights compensated in closed form", False: "not compensated", None: ""}
    return _joined(
        f"channels ranked by {importance}" if importance else "",
        said[compensate],
        f"calibrated on {images} training images" if images else "",
    )


def _search(study: Study) -> str:
    asked, space = study.settings.asked, study.settings.space
    return _joined(
        f"sampler {asked.sampler}" if asked.sampler else "",
        f"seed {asked.seed}" if asked.seed is not None else "",
        _space(space),
    )


def _space(space: dict[str, Any]) -> str:
    if not space.get("file"):
        return ""
    if space.get("on_steps"):
        return f"space {space['file']}, narrowed to widths on the target's steps (space.yaml)"
    return f"space {space['file']}"


def _trials(study: Study) -> str:
    if not study.trials:
        return "none yet"
    states = Counter("repeated plan" if is_repeat(r) else wording.state(r) for r in study.trials)
    counted = ", ".join(f"{number} {state}" for state, number in states.items())
    taken = [r.taken_from for r in study.trials if r.taken_from]
    sources = ", ".join(sorted({origin.rsplit("/", 1)[0] for origin in taken}))
    known = f"; {len(taken)} taken over from earlier studies ({sources})" if taken else ""
    return f"{len(study.trials)}: {counted}{known}"


def _time(study: Study) -> str:
    if not study.records:
        return ""
    own = (record for record in study.records if record.taken_from is None)
    spent = wording.duration(sum(record.seconds for record in own))
    outcome = study.outcome
    return _joined(
        f"{spent} in all on dense, baselines and trials",
        f"started {wording.moment(study.settings.started)}" if study.settings.started else "",
        f"ended {wording.moment(outcome.finished)}" if outcome and outcome.finished else "",
    )


def _stages(study: Study) -> str:
    """Seconds and share of each stage, over all runs, in the order they come in."""
    spent = study.stage_seconds
    total = sum(spent.values())
    order = [stage.name for stage in STAGES]
    known = [name for name in order if name in spent] + sorted(set(spent) - set(order))
    shown = (
        f"{name} {wording.duration(spent[name])} ({spent[name] / total:.0%})" for name in known
    )
    return _joined(*shown) if total else ""


def _fingerprints(study: Study) -> set[Fingerprint]:
    return {record.latency.fingerprint for record in study.records if record.latency is not None}


def _fingerprint(study: Study) -> Fingerprint | None:
    measured = (record.latency for record in study.records if record.latency is not None)
    first = next(measured, None)
    return first.fingerprint if first else None


def _joined(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)
