"""Video files with sound, read step by step on one time axis; never held whole. Writing is not here."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from spl.media.frames import Cutter, Picture, is_askew, may_be_clear
from spl.media.video_files import MediaError, is_shown, open_video, pyav, told
from spl.media.video_sound import GAP_S, Sound, flushed, in_steps, samples_of, without_gaps
from spl.media.video_times import LONGEST_GAP_S, Axis, in_order

ROUNDING_S = 0.0015  # containers round timestamps to as much as a millisecond
MOST_LOST = 0.01  # share of the announced pictures that may lack without a word: some files count roughly
HIGH_RANGE = {16: "PQ", 18: "HLG"}  # FFmpeg's numbers of transfer curves


class Step(NamedTuple):
    """What a video shows and sounds like during one step."""

    picture: Picture  # (C, H, W), the newest frame before the step's end
    sound: Sound | None  # (C, N), the samples of the step; None: the video has no sound


class Video:
    """A video file that is read step by step; the first picture's timestamp is the zero of both tracks.

    The first picture track and the first sound track are used. ``notes`` tells what else was met (more
    tracks, damage) once the video has been read. What the file says of how it is to be shown is honoured:
    turns by quarters and mirroring, range and matrix of colours, transparency (on white). The shape of its
    pixels makes no difference, as every picture is brought to one size. High dynamic range is not mapped.

    Args:
        path: whatever FFmpeg reads.
        num_threads: that decode; 0: as many as FFmpeg finds good.

    Raises:
        MediaError: if it is no video file, has no picture track or not one picture that can be decoded.
        UsageError: if PyAV is not installed.
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path | str, *, num_threads: int = 0) -> None:
        self.path, self.num_threads, self.notes = Path(path), num_threads, list[str]()
        with open_video(self.path) as container:
            tracks = container.streams.video, container.streams.audio
            pictures, sounds = (
                [one for one in track if one.codec_context is not None and is_shown(one)] for track in tracks
            )
            if not pictures:
                raise MediaError(f"{path} has no picture track that can be decoded")
            if len(sounds) < len(container.streams.audio):
                self.notes.append("a sound track is in a codec that this FFmpeg does not know")
            for those, name in ((pictures, "picture"), (sounds, "sound")):
                if len(those) > 1:
                    self.notes.append(f"{len(those)} {name} tracks: the first is used")
            self._video, self._audio = pictures[0].index, sounds[0].index if sounds else None
            self._tracks = [track[0].index for track in (pictures, sounds) if track]
            self.frame_rate_hz = float(pictures[0].average_rate or pictures[0].guessed_rate or 25)
            self._zero_s = 0.0  # is known once the first picture was read
            self._num_declared = pictures[0].frames  # 0: the file does not tell
            length, base = pictures[0].duration, pictures[0].time_base
            if length is None:
                length, base = container.duration, Fraction(1, pyav().time_base)
            elif container.format.name == "avi":  # whose length is another one where it is cut
                length = self._num_declared or length
            self._declared_s = None if length is None or base is None else float(length * base)
            first = next(self._decoded(container, self._video), None)
            if first is None:
                raise MediaError(f"{path} has no picture that can be decoded")
            if first.time is None:  # of a bare stream: the format's rate is a default, the codec's is told
                told_hz = pictures[0].codec_context.framerate or pictures[0].guessed_rate
                self.frame_rate_hz = float(told_hz or self.frame_rate_hz)
            self._note_of_colours(pictures[0], first)

    @property
    def has_audio(self) -> bool:
        """Whether there is sound; that a track of it is empty is known once the first step was read."""
        return self._audio is not None

    def steps(
        self, *, video_size: tuple[int, int], grey: bool, sample_rate_hz: int, stereo: bool, step_s: float
    ) -> Iterator[Step]:
        """Yield the video's steps, at least one; a remainder after the last whole one is dropped.

        Step ``k`` has the sound samples ``round(k R s) .. round((k + 1) R s)`` (``R`` the rate, ``s`` the
        step; silence where there are none) and the newest picture that came before its end.

        Args:
            video_size: rows and columns, cut by area.
            grey: one channel instead of three.
            sample_rate_hz: of the sound, whatever it is in the file.
            stereo: two channels instead of one. A single one is repeated; more are mixed (ITU-R BS.775,
                scaled not to clip, so that surround sound is quieter).
            step_s: seconds.

        Raises:
            MediaError: if FFmpeg cannot make such pictures or such sound of what it decodes.
        """
        try:
            yield from self._steps(video_size, grey, sample_rate_hz, "stereo" if stereo else "mono", step_s)
        except pyav().FFmpegError as error:
            if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):  # gone meanwhile
                raise
            raise MediaError(f"{self.path} cannot be decoded: {told(error)}") from error

    def _steps(
        self, size: tuple[int, int], grey: bool, sample_rate_hz: int, layout: str, step_s: float
    ) -> Iterator[Step]:
        pictures = self._pictures(size, grey, step_s)
        first = list(islice(pictures, 1))  # before the sound, which begins at its time
        chunks: Iterator[Sound] = iter(())
        if self.has_audio:
            chunks = without_gaps(self._resampled(sample_rate_hz, layout), sample_rate_hz, layout)
            num_notes = len(self.notes)
            if (begin := next(chunks, None)) is None:
                reason = "" if len(self.notes) > num_notes else "its sound track is empty: "
                self._note(f"{reason}it counts as without sound")
                self._audio = None
            else:
                chunks = chain([begin], chunks)
        sounds = in_steps(chunks, sample_rate_hz, layout, step_s)
        for picture in chain(first, pictures):
            yield Step(picture, next(sounds) if self.has_audio else None)

    def _decoded(self, container: Any, index: int) -> Iterator[Any]:
        """Yield the frames of a track; damaged packets are left out, and where reading fails it ends."""
        stream = container.streams[index]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = self.num_threads
        axis = Axis()  # the same for each track, so of all of them
        packets = axis.placed(container.demux([container.streams[track] for track in self._tracks]))
        av, num_cut, num_decoded, num_damaged = pyav(), 0, 0, 0
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._note(f"reading stopped: {told(error)}")
                break
            if packet is None:
                break
            if packet.stream.index != index:
                continue
            num_cut += packet.is_discard
            try:
                frames = packet.decode()
            except av.FFmpegError:
                num_damaged += 1
                continue
            num_decoded += len(frames)
            yield from frames
        if stream.type == "video":
            self._note_of_times(axis)
            num_declared = num_decoded + num_damaged
            if self._ends_early(axis.ends_s.get(index, 0.0)):  # edit lists cut frames that are declared
                num_declared = max(num_declared, self._num_declared - num_cut)
            if num_damaged or num_declared - num_decoded > MOST_LOST * num_declared:
                self._note(f"{num_decoded:,} of {num_declared:,} frames could be decoded")
        elif num_damaged:
            self._note(f"{num_damaged:,} damaged packets of sound left out")

    def _note_of_colours(self, stream: Any, first: Any) -> None:
        if (curve := HIGH_RANGE.get(int(stream.codec_context.color_trc))) is not None:
            self._note(f"its high dynamic range ({curve}) is not mapped: it looks pale")
        if stream.metadata.get("alpha_mode") == "1" and not may_be_clear(first.format):
            self._note("its transparency cannot be decoded: it is read as opaque")
        if (turned := first.side_data.get("DISPLAYMATRIX")) is not None and is_askew(turned):
            self._note("it is turned by a part of a quarter, which is left out")

    def _ends_early(self, end_s: float) -> bool:
        return (self._declared_s or 0.0) - (end_s - self._zero_s) > 2 / self.frame_rate_hz

    def _note_of_times(self, axis: Axis) -> None:
        if (num := axis.num_joints) > 0:
            self._note(f"its timestamps begin again (places: {num:,}): each part follows the one before")
        if axis.num_damaged:
            self._note(f"damaged timestamps left out: {axis.num_damaged:,}")

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _pictures(self, size: tuple[int, int], grey: bool, step_s: float) -> Iterator[Picture]:
        """Yield the picture of each step; a frame that no step shows is not converted."""
        slack_s = min(ROUNDING_S, step_s / 4)
        cut, step = Cutter(size, grey), 0
        time_s, held, length_s = 0.0, None, 1.0 / self.frame_rate_hz
        with open_video(self.path) as container:
            for frame, told_s in in_order(self._decoded(container, self._video)):
                if held is None:
                    self._zero_s = told_s or 0.0
                last_s = time_s
                if told_s is not None:
                    time_s = max(last_s, told_s - self._zero_s)
                elif held is not None:
                    time_s = last_s + length_s
                if time_s - last_s > LONGEST_GAP_S:
                    self._note(
                        f"timestamps jump from {last_s:.1f} to {time_s:.1f} s: it ends before the jump"
                    )
                    time_s = last_s
                    break
                while held is not None and (step + 1) * step_s - slack_s < time_s:
                    yield cut(held)
                    step += 1
                held = frame
            if held is not None and held.duration:
                length_s = float(held.duration * held.time_base)
            end_s = time_s + length_s
            while held is not None and (step == 0 or (step + 1) * step_s - slack_s < end_s):
                yield cut(held)
                step += 1
        if self._declared_s is not None and self._declared_s - end_s > max(1.0, 2 * step_s):
            self._note(f"the pictures end at {end_s:.1f} s of {self._declared_s:.1f} s")

    def _resampled(self, rate_hz: int, layout: str) -> Iterator[tuple[int, Sound]]:
        """Yield samples with the place of the first of them on the time axis, in samples."""
        resampler, kind = None, None
        begin, end_s = 0, 0.0  # where the newest output ends, and the newest input
        with open_video(self.path) as container:
            for frame in self._decoded(container, self._audio or 0):
                time_s = end_s if frame.time is None else float(frame.time) - self._zero_s
                if time_s > max(end_s + LONGEST_GAP_S, self._declared_s or 0.0):
                    self._note(f"its sound jumps from {end_s:.1f} to {time_s:.1f} s: it ends before the jump")
                    break
                met = (frame.format.name, frame.layout.name, frame.sample_rate)
                if resampler is None or kind != met or abs(time_s - end_s) > GAP_S:
                    for chunk in flushed(resampler):
                        yield begin, chunk
                        begin += chunk.shape[1]
                    # one channel is repeated later: FFmpeg would spread its power over two
                    mixed = "mono" if frame.layout.nb_channels == 1 else layout
                    # of whole numbers, as it would mix floats beyond full scale
                    resampler = pyav().AudioResampler("s32p", mixed, rate_hz)
                    kind, begin, end_s = met, round(time_s * rate_hz), time_s
                end_s += frame.samples / frame.sample_rate
                frame.pts = None
                for part in self._mixed(resampler, frame):
                    chunk = samples_of(part)
                    yield begin, chunk
                    begin += chunk.shape[1]
            for chunk in flushed(resampler):
                yield begin, chunk
                begin += chunk.shape[1]

    def _mixed(self, resampler: Any, frame: Any) -> list[Any]:
        try:
            parts: list[Any] = resampler.resample(frame)
        except pyav().FFmpegError as error:
            raise MediaError(
                f"{self.path} has sound of {frame.layout.nb_channels} channels that cannot "
                f"be mixed: {told(error)}"
            ) from error
        return parts
