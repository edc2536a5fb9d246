// The one Catch2 main of the unit tests (Catch2 2.13 needs it in a file of its own).
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
