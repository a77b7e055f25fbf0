"""The two networks in Keras 3, and what turns them into deployable graphs."""
