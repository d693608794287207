"""What the commands of ``headrace`` do, a module each; ``flows.cli`` says how they are called."""
