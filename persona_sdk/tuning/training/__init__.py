"""Training on TRL and PEFT. The only part of the core that is heavy; it is loaded when something is trained."""
