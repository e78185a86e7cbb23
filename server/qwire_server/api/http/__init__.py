"""The HTTP front: OpenAI, rerank and text-embeddings-inference routes, health, metrics, page."""
