"""The multimodal Q-network: a two-stream encoder, a state beside it, and heads. Losses are not here."""

from functools import partial

from torch import Tensor, nn

from spl.agents.decoupled import Sizes
from spl.agents.heads import HEADS, Fusion, MakeHead, QHead
from spl.agents.implicit import ImplicitHead
from spl.agents.quantiles import acted_on
from spl.agents.state_norm import StateStream
from spl.agents.thirds import Views, only
from spl.models.encoder import TwoStreamEncoder
from spl.records import AUDIO, VIDEO


class MultimodalQNetwork(nn.Module):
    """Q-values from video and audio: an encoder, and the heads of `HEADS` that ``fusion`` names.

    ``A`` are the values of an action, or of its several dimensions (`spl.agents.decoupled`): ``sum(sizes)``.
    Heads are dueling or not, or what ``make_head`` makes.
    With ``has_thirds`` two privileged heads beside them read the joint code; acting needs them not.
    A state vector joins at the joint code in every view: thirds hide an eye or an ear, never a joint angle.

    Args:
        encoder: of the two streams; a fusion that does not read its joint code leaves that out.
        sizes: of the action's dimensions.
        dueling, fusion, has_thirds, make_head: as above.
        quantiles: ``N`` of the return that each head of ours learns, privileged ones aside; None: its mean.
        is_implicit: whether these are asked for by ``tau`` (`spl.agents.implicit`), as many as then is said.
        risk: share of the worst quantiles whose mean is acted on (`spl.agents.quantiles`).
        num_state: ``S``, numbers of the state; 0: none.
        state_features: width of the layer that reads it.

    Raises:
        ValueError: if there is a state and no joint code.
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
    ) -> list[Tensor]:
        """Return the ``(B, A)`` that are trained, or ``(B, A, N)`` of quantiles: one per head.

        Implicit quantiles are those at ``fractions (B, N)``; None: those that are acted on.
        """
        streams = self.encoder.streams(video, audio, present)
        return self.heads.values(self.encoder, streams, present, self.beside(state), fractions)

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
        assert self.privileged is not None
        features = self.encoder.ungated(video, audio)
        beside = self.beside(state)
        flags = [present, *(only(present, stream) for stream in ((VIDEO, AUDIO) if has_alone else ()))]
        codes = tuple(
            self.encoder.code(self.encoder.gated(features, one), one, beside) for one in flags
        )  # (B, D) each
        whole = self.heads.of(0, codes[0], fractions)
        alone = [acted_on(self.heads.of(0, code), self.risk) for code in codes[1:]]
        return Views(whole, tuple(alone), tuple(head(codes[0]) for head in self.privileged), codes)

    def forward(self, video: Tensor, audio: Tensor, present: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the ``(B, A)`` that are acted on.

        Args:
            video: ``(B, T, C, H, W)`` uint8.
            audio: ``(B, T, C, M, F)`` log-mel levels, or a waveform.
            present: ``(B, 2)`` flags of video and audio.
            state: ``(B, S)``, not normalised; a network without a state does not read it.
        """
        values = [acted_on(one, self.risk) for one in self.values(video, audio, present, state)]
        return self.heads.fused(values, present)

    def parameters_of_heads(self) -> list[nn.Parameter]:
        """Return all parameters but the encoder's."""
        return [weight for name, weight in self.named_parameters() if name.partition(".")[0] != "encoder"]
