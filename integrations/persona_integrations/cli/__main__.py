"""`python -m persona_integrations.cli` is the `persona` command."""

from persona_integrations.cli.app import main

if __name__ == "__main__":
    main()
