"""The rows of scripts/hostile.py: each an attack, and what must hold."""
