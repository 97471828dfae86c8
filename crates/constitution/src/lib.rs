//! Constitutions: the principles to critique, revise and compare replies by.
