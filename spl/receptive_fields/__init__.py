"""Where on the input the features of a layer have their centres."""
