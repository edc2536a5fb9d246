// Result<T, E>: a value or a reason. Expected outcomes travel in it; bugs go to ENSURE, start-up
// failures are exceptions caught in main. Test before dereferencing.
#pragma once

#include <boost/system/result.hpp>

namespace reachd {

template <class T, class E>
using Result = boost::system::result<T, E>;

}  // namespace reachd
