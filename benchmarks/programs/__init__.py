"""What runs inside the explorers' environments. Standard library, aiohttp and one explorer only."""
