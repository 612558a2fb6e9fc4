// Choices: enum classes whose values have names, which options and files use. The names stand beside the enumerators,
// in the same order and in the enum's own namespace:
//   enum class Norm { batch, group };
//   constexpr std::array<std::string_view, 2> names_of(Norm) { return {"batch", "group"}; }
// They are written out because files keep them: another enumerator must not change what older files mean.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace leda::base {

template <typename E>
concept Choice = std::is_enum_v<E> && requires(E value) {
  names_of(value).size();
};

template <Choice E>
std::string name_of(E value) {
  return std::string(names_of(value).at(static_cast<std::size_t>(value)));
}

// nullopt where no value has that name.
template <Choice E>
std::optional<E> choice_named(std::string_view name) {
  const auto names = names_of(E{});
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<E>(i);
  }
  return std::nullopt;
}

}  // namespace leda::base
