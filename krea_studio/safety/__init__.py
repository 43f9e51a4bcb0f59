"""What is not drawn, not shown and not kept, and by whose licence: pictures, prompts, previews, published weights."""
