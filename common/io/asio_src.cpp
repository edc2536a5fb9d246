// The one place where Asio's own functions are compiled: every other file sees declarations only
// (BOOST_ASIO_SEPARATE_COMPILATION), which saves seconds in each.
#include <boost/asio/impl/src.hpp>
