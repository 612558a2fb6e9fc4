#include "programs/run_program.hpp"
