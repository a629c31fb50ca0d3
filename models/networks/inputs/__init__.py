"""From stored features to the steps that the first layer reads: pixels, patches, augmentation."""
