"""Names of ALE's games, and which one an old or short name means. Their streams are in ``atari``."""

import difflib
import re

# As ale-py 0.12 has them, so that a name is understood where it is not installed.
NAMES = """
Adventure AirRaid Alien Amidar Assault Asterix Asteroids Atlantis Atlantis2 Backgammon BankHeist BasicMath
BattleZone BeamRider Berzerk Blackjack Bowling Boxing Breakout Carnival Casino Centipede ChopperCommand
CrazyClimber Crossbow Darkchambers Defender DemonAttack DonkeyKong DoubleDunk Earthworld ElevatorAction Enduro
Entombed Et FishingDerby FlagCapture Freeway Frogger Frostbite Galaxian Gopher Gravitar Hangman HauntedHouse
Hero HumanCannonball IceHockey Jamesbond JourneyEscape Kaboom Kangaroo KeystoneKapers KingKong Klax Koolaid
Krull KungFuMaster LaserGates LostLuggage MarioBros MiniatureGolf MontezumaRevenge MrDo MsPacman NameThisGame
Othello Pacman Phoenix Pitfall Pitfall2 Pong Pooyan PrivateEye Qbert Riverraid RoadRunner Robotank Seaquest
SirLancelot Skiing Solaris SpaceInvaders SpaceWar StarGunner Superman Surround Tennis Tetris TicTacToe3D
TimePilot Trondead Turmoil Tutankham UpNDown Venture VideoCheckers VideoChess VideoCube VideoPinball
WizardOfWor WordZapper YarsRevenge Zaxxon
"""
_BY_LETTERS = {game.lower(): f"ALE/{game}-v5" for game in NAMES.split()}
_PREFIX, _SUFFIX = r"^(ale|atari|gym)[/_:-]+", r"([-_]?(ram|noframeskip|deterministic))*([-_]?v\d+)?$"


def ale_id(name: str) -> str | None:
    """Return the id of the game that a name means, None if it means none.

    Such as ``PongNoFrameskip-v4``, ``Pong-ram-v5``, ``atari/pong``, ``ALE/Pong`` and ``space_invaders``; some
    letters may be wrong where a prefix or suffix shows that a game is meant.
    """
    stem = re.sub(_SUFFIX, "", re.sub(_PREFIX, "", name.lower()))
    letters = re.sub(r"[^a-z0-9]", "", stem)
    if letters in _BY_LETTERS:
        return _BY_LETTERS[letters]
    is_marked = (
        re.search(_PREFIX + r"|(ram|noframeskip|deterministic)[-_]?(v\d+)?$", name.lower()) is not None
    )
    near = difflib.get_close_matches(letters, _BY_LETTERS, 1, cutoff=0.7) if is_marked else []
    return _BY_LETTERS[near[0]] if near else None
