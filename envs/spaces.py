"""Which entries of an observation space are video and audio, by form and name; which are its state; and
which are left out."""

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from spl.envs.config import StateKeys
from spl.envs.layouts import MIN_SIDE, picture_form
from spl.envs.space_entries import AUDIO_NAMES, Leaf, Modality, Stream, form_of, leaves_of
from spl.envs.state import chosen_state, is_vector

VIDEO_NAMES = ("video", "image", "screen", "rgb", "pixels", "frame", "camera")
SPECTRUM_WORDS = {"spectrogram", "spectrum", "spectra", "mel", "melspec", "logmel", "mfcc", "stft", "fft"}
STATE_WORDS = {"state", "vector", "proprio", "proprioception", "joints", "qpos", "qvel", "velocity", "goal"}
STATE_WORDS |= {"ram", "lidar", "laser", "scan", "ray", "rays", "mask", "embedding", "features", "inventory"}
NO_VECTOR = "no vector, of which a state is: gymnasium.wrappers:FlattenObservation may make one of it"
SMALLEST_LARGE = 1_024  # numbers in a vector; a table of MIN_SIDE**2 is large already
SERVES = (
    "a picture is a Box of at least 8 rows and columns: (H, W), (H, W, 1|3|4), (1|3, H, W), or a stack of "
    "them, newest last; a sound is a Box (N,), (N, C) or (C, N) of at least 64 samples and at most 8 "
    "channels, with audio in its key or a sample rate (--env.sample_rate_hz); a state is a Box of one axis"
)


class LeftOut(NamedTuple):
    """An entry of an observation that the agent does not get."""

    key: str
    what: str  # type, shape and dtype
    why: str
    is_fault: bool  # it is too large to be a state, so that something seen or heard may be lost


class Streams(NamedTuple):
    """The streams chosen in an observation space, the state beside them, and what was not chosen."""

    video: Stream | None
    audio: Stream | None
    left_out: tuple[LeftOut, ...] = ()
    state: tuple[Leaf, ...] = ()  # vectors, in the order in which they are joined


class _Choice:
    """Finds the entry for one modality among all.

    Args:
        leaves: the entries.
        modality: video or audio.
        wanted: the key that was asked for, if any.
        has_rate: whether a sample rate is known, or the user says how sound is to be read: without, numbers
            that are not named as a sound are a state.
        stack: frames stacked in the picture, for a sound beside it.
        layout: as it was asked for, if it was.
    """

    def __init__(
        self,
        leaves: list[Leaf],
        modality: Modality,
        wanted: str | None,
        layout: str | None,
        *,
        has_rate: bool,
        stack: int = 0,
    ) -> None:
        self.leaves, self.modality, self.wanted = leaves, modality, wanted
        self.has_rate, self.stack, self.layout = has_rate, stack, layout

    def fits(self, leaf: Leaf) -> bool:
        """Whether an entry could be meant without being asked for."""
        box, is_sound_named = leaf.box, leaf.is_named(AUDIO_NAMES)
        if box is None or form_of(leaf, self.modality, self.stack, self.layout) is None:
            return False
        if leaf.has_word(SPECTRUM_WORDS):
            return False
        if self.modality == "video":
            return not is_sound_named or leaf.is_named(VIDEO_NAMES)
        if is_sound_named:
            return True
        is_state = leaf.has_word(STATE_WORDS) or not self.has_rate
        return not is_state and (not leaf.is_named(VIDEO_NAMES) or picture_form(box.shape) is None)

    def leaf(self) -> Leaf | None:
        """Return the entry, None where there is none.

        Raises:
            ValueError: if the key does not exist or does not serve, or several could be meant.
        """
        option, names = f"env.{self.modality}_key", (VIDEO_NAMES if self.modality == "video" else AUDIO_NAMES)
        if self.wanted is not None:
            known = {leaf.key: leaf for leaf in self.leaves}
            if self.wanted not in known:
                raise ValueError(
                    f"{option}={self.wanted} is not in the observation; its keys: {_listed(self.leaves)}"
                )
            leaf = known[self.wanted]
            if form_of(leaf, self.modality, self.stack, self.layout) is None:
                raise ValueError(f"{option}={self.wanted} is {leaf.told}, which cannot be used: {SERVES}")
            return leaf
        fitting = [leaf for leaf in self.leaves if self.fits(leaf)]
        named = [leaf for leaf in fitting if leaf.is_named(names)]
        if len(fitting) > 1 and len(named) != 1:
            several = ", ".join(leaf.name for leaf in fitting)
            raise ValueError(
                f"several entries could be the {self.modality}: {several}; choose one with --{option} KEY"
            )
        return (named if len(fitting) > 1 else fitting or [None])[0]  # type: ignore[list-item]


def _listed(leaves: list[Leaf]) -> str:
    return ", ".join(f"{leaf.key} ({leaf.told})" for leaf in leaves) or "none"


def find_streams(
    space: spaces.Space[Any],
    *,
    video_key: str | None,
    audio_key: str | None,
    video_layout: str | None = None,
    audio_layout: str | None = None,
    state_keys: StateKeys = None,
    has_rate: bool = False,
) -> Streams:
    """Return the streams that an observation space offers, and its state.

    Raises:
        ValueError: if nothing serves, a key does not exist or does not serve, several could be meant, or a
            layout does not fit.
    """
    leaves = list(leaves_of(space))
    if leaves and not leaves[0].path:
        for key in (video_key, audio_key, *(state_keys if isinstance(state_keys, tuple) else ())):
            if key is not None:
                raise ValueError(f"the observation is not a Dict ({leaves[0].told}): it has no key {key!r}")
    seen = _Choice(leaves, "video", video_key, video_layout, has_rate=has_rate).leaf()
    video = None if seen is None else _stream(seen, "video", video_layout)
    stack = 0 if video is None else dict(zip(video.form.layout, video.box.shape, strict=True)).get("S", 0)
    heard = _Choice(leaves, "audio", audio_key, audio_layout, has_rate=has_rate, stack=stack).leaf()
    if seen is heard and seen is not None and not seen.path:
        heard = None  # a space that could be both is a picture
    audio = None if heard is None else _stream(heard, "audio", audio_layout, stack)
    others = [leaf for leaf in leaves if leaf not in (seen, heard)]
    reasons = [_reason(leaf, heard is not None) for leaf in others]
    usual = [leaf for leaf, why in zip(others, reasons, strict=True) if why is None and is_vector(leaf)]
    state = chosen_state(leaves, state_keys, usual=usual, taken={"video": seen, "audio": heard})
    if video is None and audio is None and not state:
        if usual:  # none: an empty list of keys would not be a choice
            told = _listed(usual) if usual[0].path else usual[0].told
            raise ValueError(
                f"the observation has nothing but vectors, {told}, "
                "and env.state_keys=none leaves them out: leave that option out"
            )
        found = _listed(leaves) if leaves and leaves[0].path else "".join(leaf.told for leaf in leaves)
        raise ValueError(f"no picture, sound or vector in the observation; found {found or 'none'}; {SERVES}")
    unread = [pair for pair in zip(others, reasons, strict=True) if pair[0] not in state]
    return Streams(video, audio, tuple(_left_out(*pair) for pair in unread), state)


def _stream(leaf: Leaf, modality: Modality, layout: str | None, stack: int = 0) -> Stream:
    form, box = form_of(leaf, modality, stack, layout), leaf.box
    assert form is not None
    assert box is not None
    form = form if layout is None else type(form)(layout, box.shape)  # again, to raise where it does not fit
    return Stream(modality, leaf, box, form)


def _left_out(leaf: Leaf, reason: tuple[str, bool] | None) -> LeftOut:
    """Return what is said of an entry that is no stream, and not in the state."""
    chosen_otherwise = "a state that env.state_keys leaves out" if is_vector(leaf) else NO_VECTOR
    return LeftOut(leaf.name, leaf.told, *(reason or (chosen_otherwise, False)))


def _reason(leaf: Leaf, is_heard: bool) -> tuple[str, bool] | None:
    """Return why an entry is left out, and whether it should have been read; None: it may be a state."""
    box = leaf.box
    shape = getattr(leaf.space, "shape", None) or ()
    size = int(np.prod(shape))
    forms = [modality for modality in ("video", "audio") if form_of(leaf, modality) is not None]
    is_unstated = forms == ["audio"] and not is_heard and not leaf.is_named(AUDIO_NAMES)
    if leaf.has_word(SPECTRUM_WORDS) and len(shape) > 1:
        why, is_fault = "a spectrogram by its name: spl makes its own, return the waveform", True
    elif isinstance(leaf.space, spaces.Sequence) and leaf.space.feature_space.shape not in (None, ()):
        why, is_fault = "its length changes from step to step: return a Box of fixed shape", True
    elif leaf.is_named(VIDEO_NAMES) and "video" not in forms and len(shape) > 1:
        why, is_fault = "named as a picture, but of no form that is known", True
    elif leaf.is_named(AUDIO_NAMES) and "audio" not in forms and shape:
        why, is_fault = "named as a sound, but of no form that is known", True
    elif len(shape) > 1 and size >= MIN_SIDE**2 and not forms:
        why, is_fault = "neither a picture nor a sound by its shape and type", True
    elif size >= SMALLEST_LARGE and not leaf.has_word(STATE_WORDS) and (len(shape) == 1 or is_unstated):
        why, is_fault = "neither a picture nor, without a sample rate or a name that says so, a sound", True
    elif len(shape) > 1 and box is not None and forms:
        why, is_fault = f"another stream is taken; --env.{forms[0]}_key {leaf.key} takes this one", False
    elif leaf.is_named(AUDIO_NAMES) and "audio" in forms:
        why, is_fault = f"another stream is taken; --env.audio_key {leaf.key} takes this one", False
    else:
        return None
    return why, is_fault
