"""The multimodal Q-network: a two-stream encoder, a state beside it, and heads. Losses are not here."""

from functools import partial

import torch
from torch import Tensor, nn

from spl.agents.q_network.decoupled import Sizes
from spl.agents.q_network.heads import HEADS, Fusion, MakeHead, QHead
from spl.agents.q_network.implicit import ImplicitHead
from spl.agents.q_network.quantiles import acted_on
from spl.agents.q_network.state_norm import StateStream
from spl.agents.q_network.thirds import Views, only
from spl.models.encoder import Features, TwoStreamEncoder
from spl.models.pictures import PictureNorm
from spl.records import AUDIO, VIDEO

KEPT_STEPS = 32.0  # for which a number of a recurrent unit is kept at first, at most


class MultimodalQNetwork(nn.Module):
    """Q-values from video and audio: an encoder, and the heads of `HEADS` that ``fusion`` names.

    ``A`` are the values of an action, or of its several dimensions (`decoupled`): ``sum(sizes)``.
    Heads are dueling or not, or what ``make_head`` makes.
    With ``has_thirds`` two privileged heads beside them read the joint code; acting needs them not.
    A state vector joins at the joint code in every view: thirds hide an eye or an ear, never a joint angle.
    A recurrent one has a gated recurrent unit behind the joint code, and its heads read the unit's state.

    Args:
        encoder: of the two streams; a fusion that does not read its joint code leaves that out.
        sizes: of the action's dimensions.
        dueling, fusion, has_thirds, make_head: as above.
        quantiles: ``N`` of the return that each head of ours learns, privileged ones aside; None: its mean.
        is_implicit: whether these are asked for by ``tau`` (`implicit`), as many as then is said.
        risk: share of the worst quantiles whose mean is acted on (`quantiles`).
        num_state: ``S``, numbers of the state; 0: none.
        state_features: width of the layer that reads it.
        is_recurrent: whether it remembers, in ``R`` numbers, as many as the code has.

    Raises:
        ValueError: if there is a state, or it is recurrent, and there is no joint code.

    Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, for the unit.
    """

    def __init__(
        self,
        encoder: TwoStreamEncoder,
        sizes: Sizes,
        *,
        dueling: bool,
        fusion: Fusion,
        has_thirds: bool = False,
        make_head: MakeHead | None = None,
        quantiles: int | None = None,
        is_implicit: bool = False,
        risk: float = 1.0,
        num_state: int = 0,
        state_features: int = 64,
        is_recurrent: bool = False,
    ) -> None:
        super().__init__()
        of_means: MakeHead = partial(QHead, dueling=dueling) if make_head is None else make_head
        if make_head is None:
            make_head = partial(QHead, dueling=dueling, quantiles=quantiles)
            if is_implicit:
                make_head, risk = partial(ImplicitHead, dueling=dueling, risk=risk), 1.0
        self.encoder = encoder
        if not HEADS[fusion].reads_code:
            encoder.leave_out_code()
        self.heads = HEADS[fusion](encoder, sizes, make_head)
        self.privileged: nn.ModuleList | None = None
        if has_thirds:
            self.privileged = nn.ModuleList(of_means(encoder.features, sizes) for _ in (VIDEO, AUDIO))
        self.sizes = sizes
        self.risk = risk
        if num_state and not HEADS[fusion].reads_code:
            raise ValueError(
                f"fusion={fusion} has no joint code, where a state joins: set --agent.fusion joint, or leave "
                "the state out with --env.state_keys none"
            )
        self.state = StateStream(num_state, state_features, encoder.features) if num_state else None
        if is_recurrent and not HEADS[fusion].reads_code:
            raise ValueError("a recurrent network reads one joint code: set fusion to joint")
        self.recurrent = recurrent_unit(encoder.features) if is_recurrent else None

    def beside(self, state: Tensor | None) -> Tensor | None:
        """Return what ``state (B, S)`` adds to the joint code ``(B, D)``; None of a network without one.

        Raises:
            ValueError: if the network reads a state and there is none.
        """
        if self.state is None:
            return None
        if state is None:
            raise ValueError(f"state must have {self.state.hidden.in_features} numbers, got none")
        found: Tensor = self.state(state)
        return found

    def values(
        self,
        video: Tensor,
        audio: Tensor,
        present: Tensor,
        state: Tensor | None = None,
        fractions: Tensor | None = None,
        recurrent: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the ``(B, A)`` that are trained, or ``(B, A, N)`` of quantiles: one per head.

        Implicit quantiles are those at ``fractions (B, N)``; None: those that are acted on.
        """
        return self.values_of(
            self.encoder.streams(video, audio, present), present, state, fractions, recurrent
        )

    def values_of(
        self,
        streams: Features,
        present: Tensor,
        state: Tensor | None = None,
        fractions: Tensor | None = None,
        recurrent: Tensor | None = None,
    ) -> list[Tensor]:
        """Return :meth:`values` of what the encoder's streams gave for ``present (B, 2)``."""
        if self.recurrent is None:
            return self.heads.values(self.encoder, streams, present, self.beside(state), fractions)
        return [self.heads[0](self._reached(streams, present, state, recurrent))]

    def step(
        self,
        video: Tensor,
        audio: Tensor,
        present: Tensor,
        state: Tensor | None = None,
        recurrent: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the ``(B, A)`` that are acted on, and the recurrent state ``(B, R)`` after it, if any."""
        if self.recurrent is None:
            return self(video, audio, present, state), None
        streams = self.encoder.streams(video, audio, present)
        reached = self._reached(streams, present, state, recurrent)
        return acted_on(self.heads[0](reached), self.risk), reached

    @property
    def picture_norm(self) -> PictureNorm | None:
        """What standardises the pictures, if anything does."""
        return self.encoder.picture_norm

    @property
    def num_remembered(self) -> int:
        """``R``, numbers of the recurrent state; 0: there is none."""
        return 0 if self.recurrent is None else self.recurrent.hidden_size

    def _reached(
        self, streams: Features, present: Tensor, state: Tensor | None, recurrent: Tensor | None
    ) -> Tensor:
        """Return the state ``(B, R)`` after a step of what the encoder's streams gave."""
        return self._remember(self.encoder.code(streams, present, self.beside(state)), recurrent)

    def _remember(self, code: Tensor, recurrent: Tensor | None) -> Tensor:
        """Return the state ``(B, R)`` after a step of ``code (B, D)``; before an episode's first it is 0."""
        assert self.recurrent is not None
        found: Tensor = self.recurrent(code.to(self.recurrent.weight_ih.dtype), recurrent)
        return found

    def unrolled(
        self,
        video: Tensor,
        audio: Tensor,
        present: Tensor,
        state: Tensor,
        recurrent: Tensor,
        is_there: Tensor,
        burn_in: Tensor,
    ) -> Views:
        """Return the heads' ``(B, W - burn_in, A)``, or ``(B, W - burn_in, A, N)``, along sequences.

        Of a network that has thirds in every view, each with a recurrent state of its own. Those of a
        modality alone begin at 0, for what was played with all of them has none of theirs.

        Args:
            video, audio, present, state: of ``(B, W)`` steps.
            recurrent: ``(B, R)``, before the first step that is there.
            is_there: ``(B, W)``; other steps leave the recurrent state as it is.
            burn_in: ``()``, steps at the start that are unrolled without a gradient.

        Source: Kapturowski et al. (2019), Recurrent experience replay in distributed reinforcement learning.
        """
        B, W = is_there.shape
        cut, num_views = int(burn_in), 1 if self.privileged is None else 3
        reached = torch.cat([recurrent, recurrent.new_zeros((num_views - 1) * B, recurrent.shape[1])])
        there, states = is_there.repeat(num_views, 1), list[Tensor]()
        for first, stop in ((0, cut), (cut, W)):
            if first == stop:
                continue
            states = []
            with torch.set_grad_enabled(torch.is_grad_enabled() and stop == W):
                inputs = [one[:, first:stop].flatten(0, 1) for one in (video, audio, present, state)]
                codes = torch.cat(self._codes(*inputs)).view(num_views * B, stop - first, -1)
                for step, code in enumerate(codes.unbind(1), start=first):
                    after = self._remember(code, reached)
                    reached = torch.where(there[:, step, None], after, reached)  # (V B, R)
                    states.append(reached)
        whole, *alone = torch.stack(states, dim=1).flatten(0, 1).chunk(num_views)  # (B (W - burn_in), R) each
        views = self._views_of((whole, *alone), None)._replace(codes=())
        return views.mapped(lambda one: one.view(B, -1, *one.shape[1:]))

    def counting(self, present: Tensor) -> Tensor:
        """Return ``(B, n)``, by which the loss of each of :meth:`values` counts."""
        return self.heads.counting(present)

    def views(
        self,
        video: Tensor,
        audio: Tensor,
        present: Tensor,
        state: Tensor | None = None,
        fractions: Tensor | None = None,
        *,
        has_alone: bool = True,
    ) -> Views:
        """Return the Q-values in every view, by one pass of the streams; of a network that has thirds.

        Args:
            video, audio, present, state: as of :meth:`forward`.
            fractions: of the whole view, as of :meth:`values`.
            has_alone: whether those of each modality alone are asked for.
        """
        return self._views_of(self._codes(video, audio, present, state, has_alone=has_alone), fractions)

    def _codes(
        self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor | None, *, has_alone: bool = True
    ) -> tuple[Tensor, ...]:
        """Return the joint code ``(B, D)`` of each view, by one pass of the streams."""
        streams = (VIDEO, AUDIO) if has_alone and self.privileged is not None else ()
        features, beside = self.encoder.ungated(video, audio), self.beside(state)
        flags = [present, *(only(present, stream) for stream in streams)]
        return tuple(self.encoder.code(self.encoder.gated(features, one), one, beside) for one in flags)

    def _views_of(self, codes: tuple[Tensor, ...], fractions: Tensor | None) -> Views:
        """Return what the heads make of the code, or recurrent state, of each view."""
        whole = self.heads.of(0, codes[0], fractions)
        alone = tuple(acted_on(self.heads.of(0, code), self.risk) for code in codes[1:])
        return Views(whole, alone, tuple(head(codes[0]) for head in self.privileged or ()), codes)

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        present: Tensor,
        state: Tensor | None = None,
        recurrent: Tensor | None = None,
    ) -> Tensor:
        """Return the ``(B, A)`` that are acted on.

        Args:
            video: ``(B, T, C, H, W)`` uint8.
            audio: ``(B, T, C, M, F)`` log-mel levels, or a waveform.
            present: ``(B, 2)`` flags of video and audio.
            state: ``(B, S)``, not normalised; a network without a state does not read it.
            recurrent: ``(B, R)``, before the step; None: zeros, before an episode's first.
        """
        found = self.values(video, audio, present, state, recurrent=recurrent)
        values = [acted_on(one, self.risk) for one in found]
        return self.heads.fused(values, present)

    def parameters_of_heads(self) -> list[nn.Parameter]:
        """Return all parameters but the encoder's."""
        return [weight for name, weight in self.named_parameters() if name.partition(".")[0] != "encoder"]


def recurrent_unit(features: int) -> nn.GRUCell:
    """Return a unit whose numbers begin by being kept for 1 to `KEPT_STEPS` steps, drawn uniformly for each.

    PyTorch's own begins with a gate of 1/2: after seven steps less than a hundredth of a number is left, and
    what was heard that long ago gets no gradient to speak of.

    Source: Tallec and Ollivier (2018), Can recurrent neural networks warp time?, equation 16, for a GRU.
    """
    unit = nn.GRUCell(features, features)
    with torch.no_grad():
        keep = slice(features, 2 * features)  # of the gates reset, update and candidate
        unit.bias_hh[keep] = 0.0
        unit.bias_ih[keep] = torch.empty(features).uniform_(1.0, KEPT_STEPS - 1.0).log()
    return unit
