"""All programs."""

from tests.sonnet_programs.programs_agents import AGENTS
from tests.sonnet_programs.programs_images import IMAGES
from tests.sonnet_programs.programs_sequences import SEQUENCES

PROGRAMS = (*AGENTS, *IMAGES, *SEQUENCES)
