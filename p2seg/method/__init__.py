"""The method: seeds, S2I, I2S, the rounds, the losses, and P2Seg and BESTIE made of them."""
