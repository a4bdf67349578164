"""All attacks."""

from __future__ import annotations

from . import command_lines, configs, disk_faults, images, kills, tampering

ATTACKS = {
    attack.name: attack
    for attack in (
        kills.ATTACK,
        images.ATTACK,
        configs.ATTACK,
        command_lines.ATTACK,
        tampering.ATTACK,
        disk_faults.ATTACK,
    )
}
"""All attacks by name."""
