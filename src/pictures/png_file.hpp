// 8-bit PNG pictures, grey or RGB.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

namespace leda::pictures {

// The file's bytes. `pixels`: uint8 on the CPU, H x W (grey) or H x W x 3 (RGB).
std::string encode_png(const at::Tensor& pixels);

// Through a temporary file and a rename, so that no half a picture is ever seen. Throws Error(storage).
void write_png(const std::filesystem::path& path, const at::Tensor& pixels);

}  // namespace leda::pictures
