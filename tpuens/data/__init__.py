"""Image data sets and the one tf.data pipeline that feeds models from them."""
