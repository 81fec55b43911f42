"""Steps of a network as files of another engine: written, made smaller, compared with the network."""
