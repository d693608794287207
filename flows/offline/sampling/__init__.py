"""What a policy of tail sampling would keep of stored traces, worked out by the flow's own steps."""
