"""All effects: the union that a variant of a scene holds."""

from .dust import Dust
from .light import CastLight, Glow, Reflection, Shadow
from .smoke import Smoke
from .splash import Splash, Spray
from .waves import Ripple, Wake

AnyEffect = Shadow | Reflection | Dust | Smoke | Wake | Ripple | Splash | Spray | Glow | CastLight
EFFECTS = (Shadow, Reflection, Dust, Smoke, Wake, Ripple, Splash, Spray, Glow, CastLight)
