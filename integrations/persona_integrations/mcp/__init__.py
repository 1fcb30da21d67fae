"""What is known of people as an MCP server, for any host that speaks the protocol; needs the extra `mcp`."""

from persona_integrations.mcp.address import Address, loopback
from persona_integrations.mcp.serving import mcp_server, serve

__all__ = ["Address", "loopback", "mcp_server", "serve"]
