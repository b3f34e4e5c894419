"""What runs inside a gateway pod: Envoy and the agent that feeds it; the standard library and orjson only."""
