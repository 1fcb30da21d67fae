"""Learning from many people on the machines of a Ray cluster; needs the extra `ray`."""

from persona_integrations.ray.learning import learn_with_ray

__all__ = ["learn_with_ray"]
