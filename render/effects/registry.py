"""All effects: the union that a variant of a scene holds."""

from .dust import Dust
from .glow import CastLight, Glow
from .shadow_reflection import Reflection, Shadow
from .smoke import Smoke
from .splash import Splash, Spray
from .waves import Ripple, Wake

AnyEffect = Shadow | Reflection | Dust | Smoke | Wake | Ripple | Splash | Spray | Glow | CastLight
EFFECTS = (Shadow, Reflection, Dust, Smoke, Wake, Ripple, Splash, Spray, Glow, CastLight)
