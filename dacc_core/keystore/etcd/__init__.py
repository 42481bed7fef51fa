"""The keystore on etcd."""
