"""What is in a data set, what is wrong with it, how to fix it: nothing is raised, all is told."""
